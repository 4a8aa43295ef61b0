"""Amazon S3 and what speaks its language, through s3fs. Knows nothing of retries."""

from http import HTTPStatus
from typing import Any

from s3fs import S3FileSystem

from connectors.stores.cloud.errors import status_of, vendor_errors
from connectors.stores.cloud.service import Page, Timeouts, Upload, finish
from connectors.stores.store import ObjectInfo


class S3Service:
    """If-None-Match for creates, If-Match for reads."""

    def __init__(self, timeouts: Timeouts) -> None:
        self._timeouts = timeouts
        settings = {"connect_timeout": timeouts.connect_s, "read_timeout": timeouts.read_s}
        self._client = S3FileSystem(
            config_kwargs={"retries": {"total_max_attempts": 1}, **settings},
            use_listings_cache=False,
            skip_instance_cache=True,
        )
        self._client.retries = 1

    def write(self, bucket: str, name: str, content: bytes, *, create: bool) -> bool:
        mode = "create" if create else "overwrite"
        # s3fs sends large contents in parts.
        request = self._client._pipe_file(f"{bucket}/{name}", content, mode=mode)
        try:
            finish(self._client.loop, request, self._timeouts.whole_s(len(content)))
        except FileExistsError:
            return False
        except vendor_errors() as error:
            # Not every service that speaks S3 says which condition failed.
            if create and status_of(error) == HTTPStatus.PRECONDITION_FAILED:
                return False
            raise
        return True

    def begin_upload(self, bucket: str, name: str) -> str:
        return str(self._ask("create_multipart_upload", Bucket=bucket, Key=name)["UploadId"])

    def send_part(self, upload: Upload, content: bytes, *, is_last: bool) -> str:  # noqa: ARG002 - of others
        number = len(upload.receipts) + 1
        request = self._client._call_s3("upload_part", **_named(upload), PartNumber=number, Body=content)
        return str(finish(self._client.loop, request, self._timeouts.whole_s(len(content)))["ETag"])

    def finish_upload(self, upload: Upload) -> bool:
        parts = [{"PartNumber": number, "ETag": etag} for number, etag in enumerate(upload.receipts, start=1)]
        try:
            self._ask("complete_multipart_upload", **_named(upload), MultipartUpload={"Parts": parts}, IfNoneMatch="*")
        except vendor_errors() as error:
            if status_of(error) == HTTPStatus.PRECONDITION_FAILED:
                self.drop_upload(upload)
                return False
            raise
        return True

    def drop_upload(self, upload: Upload) -> None:
        self._ask("abort_multipart_upload", **_named(upload))

    def read(self, bucket: str, name: str, *, span: tuple[int, int] | None = None, etag: str | None = None) -> bytes:
        asked = {"Bucket": bucket, "Key": name}
        limit_s = None
        if span is not None:
            asked["Range"] = f"bytes={span[0]}-{span[1] - 1}"
            limit_s = self._timeouts.whole_s(span[1] - span[0])
        if etag is not None:
            asked["IfMatch"] = etag
        try:
            return finish(self._client.loop, self._content(asked), limit_s)
        except vendor_errors() as error:
            if status_of(error) == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                return b""
            raise

    def head(self, bucket: str, name: str) -> ObjectInfo:
        found = self._ask("head_object", Bucket=bucket, Key=name)
        return ObjectInfo(name, int(found["ContentLength"]), str(found["ETag"]), found["LastModified"].timestamp())

    def list_page(self, bucket: str, prefix: str, token: str) -> Page:
        following = {"ContinuationToken": token} if token else {}
        page = self._ask("list_objects_v2", Bucket=bucket, Prefix=prefix, **following)
        objects = [ObjectInfo(each["Key"], int(each["Size"]), str(each["ETag"])) for each in page.get("Contents", ())]
        # A name that ends so is a console's picture of a folder.
        kept = tuple(each for each in objects if not each.key.endswith("/"))
        return Page(kept, page.get("NextContinuationToken"))

    def delete(self, bucket: str, name: str) -> None:
        self._ask("delete_object", Bucket=bucket, Key=name)

    def _ask(self, method: str, **asked: object) -> dict[str, Any]:
        request = self._client._call_s3(method, **asked)
        answer: dict[str, Any] = finish(self._client.loop, request, self._timeouts.whole_s(0))
        return answer

    async def _content(self, asked: dict[str, str]) -> bytes:
        answer = await self._client._call_s3("get_object", **asked)
        async with answer["Body"] as body:
            content: bytes = await body.read()
            return content


def _named(upload: Upload) -> dict[str, str]:
    return {"Bucket": upload.bucket, "Key": upload.name, "UploadId": upload.token}
