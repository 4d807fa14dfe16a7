"""What the API names of models and tiers never makes more series than were allowed for."""

from hypothesis import given
from hypothesis import strategies as st

from exporter.domain.ledger import Additions, Label, Ledger
from exporter.domain.values import AccountName
from exporter.metrics.info_labels import MAX_CATEGORIES, MAX_CREATORS, MAX_TIERS, InfoLabels
from exporter.vivix.payload import Model

STUDIO, SHOP = AccountName("studio"), AccountName("shop")
REST = ("other", "other", "other")


def models(*slugs: str) -> list[Model]:
    return [Model(slug, "image", "xAI") for slug in slugs]


def ledger(*counted: str, max_models: int = 5) -> Ledger:
    """One that has series of these models already."""
    book, additions = Ledger((), max_models, 5), Additions()
    additions.admitted[STUDIO, Label.MODEL].update(counted)
    book.commit(additions)
    return book


def test_every_model_is_shown_while_there_are_places() -> None:
    assert InfoLabels(ledger()).models(STUDIO, models("b", "a")) == [
        ("b", "image", "xAI"),
        ("a", "image", "xAI"),
    ]


def test_models_that_are_counted_come_first_and_one_line_stands_for_the_rest() -> None:
    labels = InfoLabels(ledger("z", "gone", max_models=3))
    slugs = [slug for slug, _, _ in labels.models(STUDIO, models("a", "b", "c", "z"))]
    assert slugs == ["z", "a", "b", "other"]
    assert labels.models(STUDIO, models("a", "b", "c", "z"))[-1] == REST


def test_each_account_has_its_own_places() -> None:
    labels = InfoLabels(ledger(max_models=1))
    assert [labels.models(name, models(slug))[0][0] for name, slug in ((STUDIO, "a"), (SHOP, "b"))] == [
        "a",
        "b",
    ]


def test_a_place_is_not_given_to_another_when_its_model_is_listed_no_more() -> None:
    labels = InfoLabels(ledger(max_models=2))
    seen = {label for week in range(100) for label in labels.models(STUDIO, models(f"a{week}", f"b{week}"))}
    assert {slug for slug, _, _ in seen} == {"a0", "b0", "other"}


@given(
    st.lists(
        st.lists(
            st.builds(Model, st.text(max_size=3), st.text(max_size=3), st.text(max_size=3)),
            unique_by=lambda model: model.slug,
        )
    ),
    st.sets(st.sampled_from("abcdef"), max_size=3),
)
def test_however_models_come_and_go_their_series_are_bounded(
    weeks: list[list[Model]], counted: set[str]
) -> None:
    labels = InfoLabels(ledger(*counted, max_models=3))
    ever = set()
    for listed in weeks:
        shown = labels.models(STUDIO, listed)
        assert len({slug for slug, _, _ in shown}) == len(shown) <= 3 + 2
        assert {slug for slug, _, _ in shown} >= counted & {model.slug for model in listed}
        ever.update(shown)
    assert len({slug for slug, _, _ in ever} - {"other", "unknown"}) <= 3 + len(counted)


def test_categories_creators_and_tiers_are_bounded() -> None:
    labels = InfoLabels(ledger("m"))
    shown = [labels.models(STUDIO, [Model("m", f"c{n}", f"by{n}")])[0] for n in range(1_000)]
    assert len({category for _, category, _ in shown}) == MAX_CATEGORIES + 1
    assert len({creator for _, _, creator in shown}) == MAX_CREATORS + 1
    assert len({labels.tier(STUDIO, f"tier {n}") for n in range(1_000)}) == MAX_TIERS + 1
    assert shown[-1] == ("m", "other", "other")
