"""A volume, through the SDK's generated client."""

from typing import List, Optional

import requests
from beta9.clients.volume import (
    CompleteMultipartUploadRequest,
    CopyPathRequest,
    CreateMultipartUploadRequest,
    CreatePresignedUrlRequest,
    GetOrCreateVolumeRequest,
    ListPathRequest,
    PresignedUrlMethod,
    VolumeServiceStub,
)

from .api import Api


class Volume:
    """One volume, through the raw client."""

    def __init__(self, api: Api, name: str):
        self.api = api
        self.name = name
        self.stub = VolumeServiceStub(api.channel)
        made = self.stub.get_or_create_volume(GetOrCreateVolumeRequest(name=name))
        assert made.ok, made.err_msg
        self.id = made.volume.id

    def write(self, path: str, content: bytes):
        """Writes a file in one stream."""
        return self.stub.copy_path_stream(
            CopyPathRequest(path=f"{self.name}/{path}", content=piece) for piece in (content, b"")
        )

    def address(self, path, method=PresignedUrlMethod.GetObject, expires=60):
        request = CreatePresignedUrlRequest(
            volume_name=self.name, volume_path=path, expires=expires, method=method
        )
        return self.stub.create_presigned_url(request)

    def read(self, path: str) -> Optional[bytes]:
        """A file's bytes; nothing if there is none."""
        address = self.address(path)
        return requests.get(address.url, timeout=10).content if address.ok else None

    def names(self, path: str = "") -> List[str]:
        listed = self.stub.list_path(ListPathRequest(path=f"{self.name}/{path}"))
        assert listed.ok, listed.err_msg
        return [info.path for info in listed.path_infos]

    def begin(self, path: str, size: int, chunk: int):
        return self.stub.create_multipart_upload(
            CreateMultipartUploadRequest(
                volume_name=self.name, volume_path=path, file_size=size, chunk_size=chunk
            )
        )

    def complete(self, upload, parts):
        return self.stub.complete_multipart_upload(
            CompleteMultipartUploadRequest(
                upload_id=upload.upload_id, volume_name=self.name, completed_parts=parts
            )
        )
