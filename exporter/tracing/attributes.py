"""Names of span attributes.

`gen_ai.*` are of the OpenTelemetry GenAI semantic conventions, version 0.1.0 (status: development); `error.*`
and `server.*` of the general ones, version 1.45.0 (stable); `vivix.*` are this exporter's own.
"""

OPERATION = "gen_ai.operation.name"
GENERATE_CONTENT = "generate_content"
"""The operation that fits best: the conventions have none for images, videos or sounds."""
PROVIDER = "gen_ai.provider.name"
VIVIX = "vivix"
MODEL = "gen_ai.request.model"
OUTPUT_TYPE = "gen_ai.output.type"
"""`image` is one of the conventions' own values; they have none for videos and sounds, and allow others."""
RESPONSE_ID = "gen_ai.response.id"

SERVER_ADDRESS = "server.address"
SERVER_PORT = "server.port"
ERROR_TYPE = "error.type"

ACCOUNT = "vivix.account"
STATUS = "vivix.generation.status"
DURATION_MS = "vivix.generation.duration_ms"
CREDITS_USED = "vivix.credits.used"
CREDITS_ESTIMATE = "vivix.credits.estimate"
OUTPUTS = "vivix.outputs"
OUTPUT_URLS = "vivix.output.urls"
POLLS = "vivix.polls"
OBSERVED_VIA = "vivix.observed.via"
UNCERTAINTY_MS = "vivix.observation.uncertainty_ms"
