"""An S3-compatible server on this machine, with one bucket and the keys that it wants."""

import json
import uuid
from typing import Iterator

import boto3
import requests
from moto.server import ThreadedMotoServer

READER = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}],
}


class ObjectStore:
    """The server. From `start` on it takes only requests that are signed with its keys."""

    def __init__(self) -> None:
        self.server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)

    def start(self) -> "ObjectStore":
        self.server.start()
        host, port = self.server.get_host_and_port()
        self.endpoint = f"http://{host}:{port}"
        made = self._client("iam", "nobody", "nothing")
        made.create_user(UserName="reader")
        made.put_user_policy(
            UserName="reader", PolicyName="s3", PolicyDocument=json.dumps(READER)
        )
        key = made.create_access_key(UserName="reader")["AccessKey"]
        self.access, self.secret = key["AccessKeyId"], key["SecretAccessKey"]
        requests.post(f"{self.endpoint}/moto-api/reset-auth", data=b"0", timeout=10)
        return self

    def stop(self) -> None:
        self.server.stop()

    def _client(self, service: str, access: str, secret: str):
        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=access,
            aws_secret_access_key=secret,
        )

    def bucket(self) -> "Bucket":
        """A new bucket."""
        client = self._client("s3", self.access, self.secret)
        name = f"bucket-{uuid.uuid4().hex[:12]}"
        client.create_bucket(Bucket=name)
        return Bucket(client, name)


class Bucket:
    """One bucket."""

    def __init__(self, client, name: str):
        self.client = client
        self.name = name

    def put(self, key: str, content: bytes) -> None:
        self.client.put_object(Bucket=self.name, Key=key, Body=content)

    def remove(self, key: str) -> None:
        self.client.delete_object(Bucket=self.name, Key=key)

    def keys(self) -> Iterator[str]:
        listed = self.client.list_objects_v2(Bucket=self.name)
        return (found["Key"] for found in listed.get("Contents", ()))
