from typing import Any

class SwaggerSpec:
    def __init__(self, spec: Any) -> None: ...
