"""The HTTP door: FastAPI routes that parse, call one function of `app`, and answer."""
