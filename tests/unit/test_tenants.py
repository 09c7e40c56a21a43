"""Whose a thing is: groups, names and ids of tenants."""

import pytest

from rayraft.errors import InputError
from rayraft.records import may_read
from rayraft.tenants import (
    check_document_id,
    check_learner,
    groups_of,
    may_learn,
    may_use_adapter,
    owner_of_adapter,
    tenant_acl,
    tenants_in,
)

PEOPLE = {
    "acme": groups_of("acme"),
    "acme hr": groups_of("acme", ["hr"]),
    "acme-eu hr": groups_of("acme-eu", ["hr"]),
    "operator hr": groups_of(None, ["hr"]),
    "nobody": groups_of(None),
}


@pytest.mark.parametrize(
    ("acl", "readers"),
    [
        ([], {"acme", "acme hr"}),
        (["public"], {"acme", "acme hr"}),
        (["hr", "public"], {"acme", "acme hr"}),
        (["hr"], {"acme hr"}),
        (["board"], set()),
    ],
)
def test_what_a_tenant_writes_is_read_within_the_tenant_alone(acl, readers):
    stored = tenant_acl("acme", acl)
    assert {who for who, groups in PEOPLE.items() if may_read(stored, groups)} == readers
    assert tenant_acl("acme", stored) == stored, "what was read can be sent again"


@pytest.mark.parametrize("acl", [["tenant:other"], ["tenant:other:hr"], ["tenant:acmex"], ["a b"]])
def test_a_tenant_gives_nothing_to_another_tenant(acl):
    with pytest.raises(InputError, match="acl"):
        tenant_acl("acme", acl)


def test_the_operators_documents_keep_their_acl_and_name_no_tenant():
    assert tenant_acl(None, ["hr", "Räte"]) == ["hr", "Räte"]
    with pytest.raises(InputError, match="tenant:acme"):
        tenant_acl(None, ["tenant:acme"])


@pytest.mark.parametrize(
    ("adapter", "owner"),
    [
        ("acme--support-v3", "acme"),
        ("acme-eu--support", "acme-eu"),
        ("acme--a--b-v1", "acme"),
        ("acme-support-v3", None),
        ("support", None),
    ],
)
def test_an_adapters_name_says_whose_it_is(adapter, owner):
    assert owner_of_adapter(adapter) == owner
    allowed = {who for who, groups in PEOPLE.items() if may_use_adapter(adapter, groups)}
    assert allowed == {who for who in PEOPLE if owner is None or who.split()[0] == owner}


def test_only_a_tenants_own_adapter_learns_what_its_people_said():
    acme = groups_of("acme", ["hr"])
    assert tenants_in(acme) == {"acme"}
    assert may_learn(["staff"], ()) and may_learn((), acme) and may_learn(acme, ["tenant:acme"])
    assert not may_learn(acme, ()) and not may_learn(acme, groups_of("other"))


def test_what_one_tenant_may_read_is_learned_by_its_own_adapters_alone():
    acme = groups_of("acme", ["hr"])
    check_learner("acme--support", [*acme, "staff"], "run")
    check_learner("support", ["staff"], "run")
    for name in ("support", "acme-support", "other--support"):
        with pytest.raises(InputError, match="acme--"):
            check_learner(name, acme, "run")


@pytest.mark.parametrize("good", ["a", "handbook/part 1/leave#a.md", "ü.md", "a..b", "tenant:x"])
def test_ordinary_ids_are_taken(good):
    check_document_id(good)
    check_document_id(f"acme/{good}", "acme")


@pytest.mark.parametrize(
    "bad", ["", "/a", "a/", "a//b", "../a", "a/./b", "a\\b", " a", "a\n", "a\x00", "a\u202eb"]
)
def test_ids_that_mislead_are_refused(bad):
    with pytest.raises(InputError, match="document_id"):
        check_document_id(bad)


@pytest.mark.parametrize("foreign", ["a.md", "acme", "acme-eu/a.md", "Acme/a.md", "other/acme/a"])
def test_a_tenant_writes_below_its_own_name(foreign):
    with pytest.raises(InputError, match="acme/"):
        check_document_id(foreign, "acme")
