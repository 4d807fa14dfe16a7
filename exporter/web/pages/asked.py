"""What the address of a list asks for."""

from dataclasses import dataclass

from starlette.datastructures import QueryParams

from exporter.domain.values import MAX_ID, AccountName, Phase, is_uuid
from exporter.store.lists import Filter, Place
from exporter.web.api.shapes import BadRequestError, parse_cursor

_NAMES = ("q", "account", "status", "model", "reason")


@dataclass(frozen=True, slots=True)
class Asked:
    """The filters of an address, as they are written there; an empty one is any."""

    q: str = ""
    account: str = ""
    status: str = ""
    model: str = ""
    reason: str = ""
    cursor: str = ""
    is_list: bool = False
    """Whether a list is asked for rather than the first page."""

    def filter(self) -> Filter:
        """Return the generations that are asked for. Raises BadRequestError."""
        if self.status and self.status not in list(Phase):
            raise BadRequestError(f"status: expected one of {', '.join(Phase)}")
        return Filter(
            AccountName(self.account) if self.account else None,
            Phase(self.status) if self.status else None,
            self.model or None,
            self.reason or None,
            self.q or None,
        )

    def place(self) -> Place | None:
        """Return where the list begins, None for its newest. Raises BadRequestError."""
        return parse_cursor(self.cursor) if self.cursor else None

    @property
    def chosen(self) -> dict[str, str]:
        """The filters that are set, by name."""
        return {name: value for name in _NAMES if (value := getattr(self, name))}

    @property
    def id(self) -> str | None:
        """The whole id that is searched for, and nothing else; None where it is anything else."""
        return self.q if self.chosen.keys() == {"q"} and is_uuid(self.q) else None


def asked(parameters: QueryParams) -> Asked:
    """Return what an address asks for. Raises BadRequestError."""
    values = {name: parameters.get(name, "").strip() for name in (*_NAMES, "cursor")}
    for name, value in values.items():
        if "\0" in value:  # PostgreSQL refuses to compare it with anything
            raise BadRequestError(f"{name}: none holds a NUL character")
    if len(values["q"]) > MAX_ID:
        raise BadRequestError(f"q: no id has more than {MAX_ID} characters")
    return Asked(**values, is_list=any(name in parameters for name in (*_NAMES, "cursor")))
