import pytest

from rayraft.adapter_ids import parse_adapter_id
from rayraft.errors import NotFoundError
from rayraft.records import may_read


@pytest.mark.parametrize(
    ("acl", "groups", "readable"),
    [
        ([], [], True),
        (None, [], True),
        (["public"], [], True),
        (["hr"], [], False),
        (["hr"], ["Hr"], False),
        (["hr", "it"], ["it"], True),
    ],
)
def test_an_acl_is_read_by_its_groups_and_an_empty_one_by_everybody(acl, groups, readable):
    assert may_read(acl, groups) is readable


@pytest.mark.parametrize(
    "bad",
    ["", "a", "a-v", "a-v0", "../x-v1", "A-v1", "a/b-v1", "a-v1\n", "a--v1", "-v1", "a-v\u0661"],
)
def test_adapter_ids_of_another_form_do_not_exist(bad):
    with pytest.raises(NotFoundError, match="NAME-vN"):
        parse_adapter_id(bad)


def test_adapter_id_is_name_and_number():
    assert parse_adapter_id("support-v2-v13") == ("support-v2", 13)
    assert parse_adapter_id("a" * 64 + "-v1") == ("a" * 64, 1)
