from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amodal_bench.errors import Refused
from amodal_bench.plugin import Settings
from amodal_bench.resolve.voting import Voting
from amodal_bench.store.spec import RunSpec, instance_seed, resolved

BASE: dict[str, Any] = {
    "method": "m", "revision": 1, "params": {"a": 1, "b": 0.5},
    "dataset": "d", "split": "s", "options": {}, "fingerprint": "f",
}  # fmt: skip


def test_the_key_is_twelve_hex_digits_and_does_not_depend_on_the_order_of_keys() -> None:
    key = RunSpec(**BASE).key()
    assert len(key) == 12
    assert int(key, 16) >= 0
    assert RunSpec(**{**BASE, "params": {"b": 0.5, "a": 1}}).key() == key


@pytest.mark.parametrize(
    "change",
    [
        {"method": "n"}, {"revision": 2}, {"params": {"a": 2, "b": 0.5}}, {"checkpoint": "c"}, {"pretrained": "p"},
        {"method_source": "x"}, {"dataset": "e"}, {"split": "t"}, {"options": {"o": 1}}, {"fingerprint": "g"},
        {"dataset_source": "y"}, {"visible": "predicted:1"}, {"seed": 1},
    ],
)  # fmt: skip
def test_all_that_can_change_a_number_changes_the_key(change: dict[str, Any]) -> None:
    assert RunSpec(**{**BASE, **change}).key() != RunSpec(**BASE).key()


class Params(Settings):
    weights: Path
    steps: int = 3


def test_a_path_stands_as_the_digest_of_its_file(tmp_path: Path) -> None:
    one, two = tmp_path / "one.bin", tmp_path / "two.bin"
    one.write_bytes(b"same")
    two.write_bytes(b"same")
    assert resolved(Params(weights=one)) == resolved(Params(weights=two))
    assert str(tmp_path) not in str(resolved(Params(weights=one)))
    before = resolved(Params(weights=one))
    one.write_bytes(b"other")
    assert resolved(Params(weights=one)) != before


def test_a_folder_stands_as_the_digest_of_its_files(tmp_path: Path) -> None:
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "config.json").write_text("{}")
    before = resolved(Params(weights=tmp_path))
    (tmp_path / "unet" / "config.json").write_text("{ }")
    assert resolved(Params(weights=tmp_path)) != before


def test_a_missing_file_is_refused_with_the_parameters_name(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"parameter weights: no file or folder at .*nowhere"):
        resolved(Params(weights=tmp_path / "nowhere"))


@given(st.integers(0, 2**31), st.text(min_size=1, max_size=30))
def test_the_seed_of_an_instance_is_its_own_and_fits_63_bits(seed: int, id: str) -> None:
    assert 0 <= instance_seed(seed, id) < 2**63
    assert instance_seed(seed, id) != instance_seed(seed + 1, id)
    assert instance_seed(seed, id) != instance_seed(seed, id + "0")


def test_two_pretrained_models_under_one_checkpoint_are_two_keys() -> None:
    keys = {RunSpec(**BASE, checkpoint="c", pretrained=part).key() for part in (None, "vit_b", "vit_l")}
    assert len(keys) == 3


def test_the_keys_of_what_was_run_before_stay() -> None:
    """They were made when pretrained models stood as the checkpoint, where there was no other."""
    assert RunSpec(**BASE).key() == "4c2112863330"
    assert RunSpec(**BASE, checkpoint="c").key() == "b73611519500"
    assert RunSpec(**BASE, pretrained="c").key() == RunSpec(**BASE, checkpoint="c").key()


def test_a_renamed_field_stands_in_keys_as_it_did() -> None:
    class Inner(Settings):
        old_names = {"w": "guidance_weight"}
        kept_names = {"guidance_weight": "w"}
        guidance_weight: float = 0.75

    class Outer(Settings):
        inner: Inner = Inner()
        steps: int = 3

    assert resolved(Outer()) == {"inner": {"w": 0.75}, "steps": 3}
    assert resolved(Outer.model_validate({"inner": {"w": 2}})) == {"inner": {"w": 2.0}, "steps": 3}
    voting = Voting.model_validate({"samples": 3, "vote": "mean"})
    assert (voting.vote, resolved(voting)) == ("at_least_half", {"samples": 3, "vote": "mean"})


def test_a_field_that_came_later_stands_in_keys_only_where_it_says_something() -> None:
    class Times(Settings):
        low: float = 0.0

    class Later(Settings):
        added_names = ("base", "times")
        steps: int = 3
        base: int = 0
        times: Times = Times()

    assert resolved(Later()) == {"steps": 3}
    assert resolved(Later(base=1)) == {"steps": 3, "base": 1}
    assert resolved(Later(times=Times(low=0.5))) == {"steps": 3, "times": {"low": 0.5}}
    assert Later.model_validate(resolved(Later(base=1))) == Later(base=1)
