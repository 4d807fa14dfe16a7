"""The example is what users start from."""

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from exporter.config import load_config, parse_config
from exporter.config.schema import Account, Document, Metrics, Polling, State, Tracing, Web

EXAMPLE = Path(__file__).parents[3] / "config.example.yaml"
TEXT = EXAMPLE.read_text()


def test_it_loads_as_it_is_and_holds_the_defaults() -> None:
    config = load_config(EXAMPLE)
    assert config.polling == Polling()
    assert config.state == State()
    assert config.metrics == Metrics()
    assert config.tracing == Tracing()
    assert config.web == Web()
    [account] = config.accounts
    plain = Account.model_validate({"name": "studio", "api_key": "vvx_live_replace-this-with-your-own-key"})
    assert account == plain


def test_it_loads_with_its_other_keys_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("VIVIX_API_KEY", "VIVIX_WEBHOOK_SECRET", "VIVIX_EXPORTER_TOKEN"):
        monkeypatch.setenv(variable, "vvx_live_key")
    text = re.sub(r"^( +)# (\w+: )", r"\1\2", TEXT, flags=re.MULTILINE)
    text = re.sub(r"^ +(api_key|api_key_file): .*\n", "", text, flags=re.MULTILINE).replace("web: {}", "web:")
    config = parse_config(text, EXAMPLE)
    assert config.accounts[0].calls_per_minute == 240
    assert config.accounts[0].webhook_secret_env == "VIVIX_WEBHOOK_SECRET"
    assert config.tracing.exporter == "otlp"
    assert config.web.registration_token_env == "VIVIX_EXPORTER_TOKEN"


@pytest.mark.parametrize("section", [Document, Account, Polling, State, Metrics, Tracing, Web])
def test_it_holds_every_key(section: type[BaseModel]) -> None:
    for key in section.model_fields:
        assert re.search(rf"\b{key}\b", TEXT), key
