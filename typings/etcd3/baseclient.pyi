from typing import Any

class BaseClient:
    def __init__(self, *, host: str, port: int, protocol: str, timeout: Any, user_agent: str) -> None: ...
