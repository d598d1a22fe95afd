"""The Kubernetes API over one aiohttp session: plain JSON in and out, errors as typed exceptions.

No typed models: for lists and watches of thousands of objects they cost most of the CPU.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import AsyncGenerator, Mapping
from types import TracebackType
from typing import Any, Final, Self

import aiohttp

from switchyard.cluster import commands
from switchyard.kube import credentials as creds
from switchyard.kube import errors

_JSON: Final = "application/json"
_METADATA_LIST: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
_METADATA: Final = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """A kind as the API server's paths know it: `Resource(api_version="v1", plural="nodes", kind="Node", ...)`."""

    api_version: str
    plural: str
    kind: str
    namespaced: bool

    def ref(self, name: str, namespace: str | None = None) -> commands.Ref:
        """One object of this kind."""
        return commands.Ref(
            api_version=self.api_version, kind=self.kind, plural=self.plural, name=name, namespace=namespace
        )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Part of a list. `resource_version` is that of the whole list; `last` says whether it is complete."""

    items: list[dict[str, Any]]
    resource_version: str
    last: bool


@dataclasses.dataclass(frozen=True, slots=True)
class WatchEvent:
    """`type` is ADDED, MODIFIED, DELETED or BOOKMARK; errors are raised."""

    type: str
    body: dict[str, Any]


class Client:
    """One API server. An async context manager; usable from one event loop.

    Args:
        credentials: where and how.
        connections: at most so many at once. Each watch holds one for good.
        request_seconds: how long any request but a watch may take, a page of a list included.
        user_agent: what the API server's audit log calls us.
    """

    def __init__(
        self,
        *,
        credentials: creds.Credentials,
        connections: int = 32,
        request_seconds: float = 30.0,
        user_agent: str = "switchyard",
    ) -> None:
        self._credentials = credentials
        self._connections = connections
        self._timeout = aiohttp.ClientTimeout(total=request_seconds, sock_connect=10)
        # Uncompressed: beside the API server the network is cheap, and unpacking lists costs more than parsing them.
        self._headers = {"User-Agent": user_agent, "Accept-Encoding": "identity"}
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._connections),
            headers=self._headers,
            timeout=self._timeout,
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    # --- reading -----------------------------------------------------------------------------------------------

    async def get(self, ref: commands.Ref, *, metadata_only: bool = False) -> dict[str, Any]:
        """One object, or its metadata alone. Raises ApiError (404 where there is none), UnreachableError."""
        return await self._request("GET", _object_path(ref), accept=_METADATA if metadata_only else _JSON)

    async def pages(
        self,
        resource: Resource,
        *,
        namespace: str | None = None,
        label_selector: str | None = None,
        field_selector: str | None = None,
        page_size: int = 500,
        metadata_only: bool = False,
    ) -> AsyncGenerator[Page, None]:
        """A list, page by page, all pages of one moment. Items of built-in kinds carry no kind.

        Raises:
            ApiError: with `expired` when the list took so long that its moment has been forgotten.
            UnreachableError: no answer.
        """
        query = _query(label_selector, field_selector) | {"limit": str(page_size)}
        path = _path(resource.api_version, resource.plural, namespace)
        version = ""
        while True:
            body = await self._request("GET", path, query=query, accept=_METADATA_LIST if metadata_only else _JSON)
            metadata = body.get("metadata") or {}
            version = version or str(metadata.get("resourceVersion", ""))
            token = metadata.get("continue") or ""
            yield Page(items=body.get("items") or [], resource_version=version, last=not token)
            if not token:
                return
            query["continue"] = token

    async def watch(
        self,
        resource: Resource,
        *,
        resource_version: str,
        namespace: str | None = None,
        label_selector: str | None = None,
        field_selector: str | None = None,
        server_seconds: int = 300,
        inactivity_seconds: float = 70.0,
        metadata_only: bool = False,
    ) -> AsyncGenerator[WatchEvent, None]:
        """Everything that happened after `resource_version`, until the server ends the stream.

        Args:
            resource: what to watch.
            resource_version: of a list, of an object or of a bookmark.
            namespace: only there.
            label_selector: only these.
            field_selector: only these.
            server_seconds: after so long the server ends the stream.
            inactivity_seconds: a stream that is silent for longer is taken for dead. Bookmarks come every minute.
            metadata_only: bodies without spec and status.

        Raises:
            ApiError: the server refused the watch or sent an ERROR event; `expired` when it must be listed anew.
            UnreachableError: the stream broke, or was silent for too long.
        """
        query = _query(label_selector, field_selector) | {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(server_seconds),
        }
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=inactivity_seconds)
        try:
            response = await self._send(
                "GET",
                _path(resource.api_version, resource.plural, namespace),
                query=query,
                accept=_METADATA if metadata_only else _JSON,
                timeout=timeout,
            )
            async with response:
                if response.status >= 400:
                    raise await _error(response)
                # Not readline(): it refuses lines beyond a limit, and a Node with many images is long.
                rest = b""
                async for chunk in response.content.iter_any():
                    *lines, rest = (rest + chunk).split(b"\n")
                    for line in lines:
                        if line:
                            yield _event(line)
        except (aiohttp.ClientError, OSError) as problem:
            raise errors.UnreachableError(f"watch of {resource.plural}: {_words(problem)}") from problem

    # --- writing -----------------------------------------------------------------------------------------------

    async def patch(
        self,
        ref: commands.Ref,
        body: Mapping[str, Any],
        *,
        type: commands.PatchType,  # noqa: A002 - the field's own word
        field_manager: str,
        subresource: str = "",
    ) -> dict[str, Any]:
        """Patch an object; apply patches are forced. Returns it as it now stands. Raises ApiError, UnreachableError."""
        query = {"fieldManager": field_manager}
        if type is commands.PatchType.APPLY:
            query["force"] = "true"
        return await self._request(
            "PATCH", _object_path(ref, subresource), query=query, body=body, content_type=type.value
        )

    async def create(self, ref: commands.Ref, body: Mapping[str, Any], *, field_manager: str) -> dict[str, Any]:
        """Create an object under the name in `ref`. Returns it. Raises ApiError, UnreachableError."""
        path = _path(ref.api_version, ref.plural, ref.namespace)
        metadata = {**(body.get("metadata") or {}), "name": ref.name}
        if ref.namespace:
            metadata["namespace"] = ref.namespace
        whole = {**body, "apiVersion": ref.api_version, "kind": ref.kind, "metadata": metadata}
        return await self._request("POST", path, query={"fieldManager": field_manager}, body=whole)

    async def evict(
        self, ref: commands.Ref, *, uid: str, resource_version: str | None = None, grace_seconds: int | None = None
    ) -> None:
        """Ask for a Pod's eviction.

        Raises ApiError (429 when a PodDisruptionBudget forbids it, 409 when it is not the Pod that was read),
        UnreachableError.
        """
        preconditions = {"uid": uid}
        if resource_version is not None:
            preconditions["resourceVersion"] = resource_version
        options: dict[str, Any] = {"preconditions": preconditions}
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": ref.name, "namespace": ref.namespace},
            "deleteOptions": options,
        }
        await self._request("POST", _object_path(ref, "eviction"), body=body)

    async def delete(self, ref: commands.Ref, *, uid: str) -> None:
        """Delete an object, and in the background what it owns. Raises ApiError, UnreachableError."""
        body = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
            "preconditions": {"uid": uid},
        }
        await self._request("DELETE", _object_path(ref), body=body)

    # --- underneath --------------------------------------------------------------------------------------------

    async def _request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        content_type: str = _JSON,
        accept: str = _JSON,
    ) -> dict[str, Any]:
        try:
            response = await self._send(
                method, path, query=query, body=body, content_type=content_type, accept=accept, timeout=self._timeout
            )
            async with response:
                if response.status >= 400:
                    raise await _error(response)
                content = await response.read()
        except (aiohttp.ClientError, OSError) as problem:
            raise errors.UnreachableError(f"{method} {path}: {_words(problem)}") from problem
        try:
            answer = json.loads(content)
        except ValueError as problem:
            raise errors.UnreachableError(f"{method} {path}: the answer is not JSON") from problem
        return answer if isinstance(answer, dict) else {}

    async def _send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None,
        accept: str,
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - handed on to aiohttp
        body: Mapping[str, Any] | None = None,
        content_type: str = _JSON,
    ) -> aiohttp.ClientResponse:
        if self._session is None:
            raise errors.UnreachableError("the client is closed")
        data = None if body is None else json.dumps(body, separators=(",", ":")).encode()
        for fresh in (False, True):
            access = await self._credentials.access()
            headers = {"Accept": accept}
            if data is not None:
                headers["Content-Type"] = content_type
            if access.authorization:
                headers["Authorization"] = access.authorization
            try:
                response = await self._session.request(
                    method,
                    access.server + path,
                    params=query,
                    data=data,
                    headers=headers,
                    timeout=timeout,
                    ssl=access.tls if access.tls is not None else True,
                    server_hostname=access.server_hostname,
                    proxy=access.proxy,
                    allow_redirects=False,
                )
            except aiohttp.ClientSSLError:
                # Certificates may have been replaced, here or there: the next request reads them again.
                self._credentials.forget(access)
                raise
            if response.status != 401 or fresh:
                return response
            response.release()
            self._credentials.forget(access)
        raise AssertionError("unreachable: the second answer is returned whatever it is")


def _path(api_version: str, plural: str, namespace: str | None, *rest: str) -> str:
    root = "/apis/" if "/" in api_version else "/api/"
    middle = ("namespaces", namespace) if namespace else ()
    return root + "/".join((api_version, *middle, plural, *rest))


def _object_path(ref: commands.Ref, subresource: str = "") -> str:
    return _path(ref.api_version, ref.plural, ref.namespace, ref.name, *((subresource,) if subresource else ()))


def _query(label_selector: str | None, field_selector: str | None) -> dict[str, str]:
    query = {}
    if label_selector:
        query["labelSelector"] = label_selector
    if field_selector:
        query["fieldSelector"] = field_selector
    return query


def _event(line: bytes) -> WatchEvent:
    try:
        event = json.loads(line)
        found = WatchEvent(event["type"], event["object"])
    except (ValueError, KeyError, TypeError) as problem:
        raise errors.UnreachableError("a line of the watch is not an event") from problem
    if found.type == "ERROR":
        raise errors.ApiError.from_status(found.body)
    return found


async def _error(response: aiohttp.ClientResponse) -> errors.ApiError:
    try:
        retry_after: float | None = float(response.headers.get("Retry-After", ""))
    except ValueError:
        retry_after = None
    text = await response.text(errors="replace")
    try:
        body = json.loads(text)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        body = {"message": text[:500] or response.reason}
    return errors.ApiError.from_status(body, status=response.status, retry_after_seconds=retry_after)


def _words(problem: BaseException) -> str:
    return str(problem) or type(problem).__name__
