"""Connection strings: what messages show of them, and which are refused since a password may be meant."""

import pytest

from exporter.store import conninfo

PASSWORD = "hunter2"


@pytest.mark.parametrize(
    ("string", "name"),
    [
        ("postgresql://me:hunter2@db.example:5433/vivix", "postgresql://db.example:5433/vivix"),
        ("postgres://me:hunter2@db.example/vivix?sslmode=require", "postgresql://db.example/vivix"),
        ("host=db.example dbname=vivix password='hunter2'", "postgresql://db.example/vivix"),
        ("postgresql://me:hunter%402@[::1]:5433/vivix", "postgresql://[::1]:5433/vivix"),
        ("postgresql://me:hunter2?x=y@db.example?options=-c%20a%3Db@c", "postgresql://db.example/"),
        ("postgresql://me@one:1,two:2/vivix", "postgresql://one:1,two:2/vivix"),
        ("host=one,two port=5433 dbname=vivix", "postgresql://one:5433,two:5433/vivix"),
        ("host=/run/postgresql dbname=vivix", "postgresql:///run/postgresql/vivix"),
        ("service=vivix", "postgresql:///?service=vivix"),
        ("postgresql://?password=hunter2", "postgresql:///"),
        ("", "postgresql:///"),
    ],
)
def test_a_database_is_named_by_its_place_alone(string: str, name: str) -> None:
    assert conninfo.name_of(conninfo.parameters(string)) == name


@pytest.mark.parametrize(
    "string",
    [
        "postgresql://me:hunter2/@db.example/vivix",
        "postgresql://me:/hunter2@db.example/vivix",
        "postgresql://me:@hunter2@db.example/vivix",
        "postgresql://me:a@hunter2@db.example/vivix",
        "postgresql://me:a/?hunter2@db.example/vivix",
        "postgresql://me:a/?hunter2=x@db.example/vivix",
        "postgresql://me:%hunter2@db.example/vivix",
        "postgresql://me:%00hunter2@db.example/vivix",
        "postgresql://me:hunter2@[db.example/vivix",
        "postgresql://db.example/vivix?hunter2",
        "host=db.example password=a hunter2",
        'host=db.example password=a "hunter2" b',
        "host=db.example password='hunter2",
        "host=db.example password=a\n hunter2",
        "hunter2",
    ],
)
def test_a_string_that_is_not_understood_is_refused_without_a_part_of_it(string: str) -> None:
    with pytest.raises(ValueError, match=r"in a URL, write %40 for @") as refused:
        conninfo.parameters(string)
    assert PASSWORD not in str(refused.value)
    assert refused.value.__cause__ is None
    assert "\n" not in str(refused.value)
