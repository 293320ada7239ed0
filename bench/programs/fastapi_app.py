"""The endpoint that is measured, without metal9: a plain function, and one that needs no thread."""

from fastapi import FastAPI
from pydantic import BaseModel

plain = FastAPI()


class Call(BaseModel):
    name: str = "nobody"


@plain.post("/")
def greet(call: Call):
    return {"hello": call.name}


unthreaded = FastAPI()


@unthreaded.post("/")
async def greet_at_once(call: Call):
    return {"hello": call.name}
