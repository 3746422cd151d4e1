"""Counting what the control listener answers."""

from __future__ import annotations

from collections import Counter

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

OTHER = "other"


def counting(answered: Counter[tuple[str, str, str]]) -> Middleware:
    """Return a middleware that counts answers by path (as documented), method and status.

    What has no place in the API is counted as `other`, however a client calls it: the number of counts stays bounded.
    """

    @web.middleware
    async def count(request: web.Request, handler: Handler) -> web.StreamResponse:
        response = await handler(request)
        resource = request.match_info.route.resource
        route, method = (resource.canonical, request.method) if resource is not None else (OTHER, OTHER)
        answered[route, method, str(response.status)] += 1
        return response

    return count
