import pytest
from hypothesis import given
from hypothesis import strategies as st

from nftloyalty.domain.batch import TRANSACTION_GAS_CAP, GasModel, batch_size, plan, split

MODELS = st.builds(GasModel, base=st.integers(0, 500_000), per_item=st.integers(1, 200_000))


@given(st.lists(st.integers()), st.integers(1, 20))
def test_splitting_loses_and_repeats_nothing(items: list[int], size: int) -> None:
    batches = split(items, size)
    assert [item for batch in batches for item in batch] == items
    assert all(len(batch) == size for batch in batches[:-1])
    assert all(1 <= len(batch) <= size for batch in batches)


@pytest.mark.parametrize("size", [0, -1])
def test_a_batch_of_nothing_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="at least one item"):
        split([1], size)


@given(MODELS, st.integers(1_000_000, 60_000_000), st.integers(1, 1000))
def test_a_batch_is_as_large_as_the_gas_allows(model: GasModel, cap: int, at_most: int) -> None:
    usable = int(min(cap, TRANSACTION_GAS_CAP) * 0.9)
    size = batch_size(model, cap, at_most=at_most)
    assert 1 <= size <= at_most
    assert model.gas(size) <= usable
    assert size == at_most or model.gas(size + 1) > usable


def test_a_block_larger_than_a_transaction_may_be_changes_nothing() -> None:
    model = GasModel(base=40_000, per_item=100_000)
    assert batch_size(model, cap=60_000_000) == batch_size(model) == 150


def test_items_without_gas_of_their_own_fill_the_largest_batch() -> None:
    assert batch_size(GasModel(base=100_000, per_item=0), at_most=70) == 70


def test_one_item_beyond_the_cap_is_refused_with_both_figures() -> None:
    with pytest.raises(ValueError, match="one item needs 16,000,001 gas, and a transaction here may use 15,099,494"):
        batch_size(GasModel(base=1, per_item=16_000_000))


@given(MODELS, st.integers(0, 100_000))
def test_a_plan_covers_every_item_within_the_cap(model: GasModel, count: int) -> None:
    planned = plan(count, model)
    assert planned.batches == len(split(range(count), planned.size))
    assert planned.gas == sum(model.gas(len(batch)) for batch in split(range(count), planned.size))
    assert planned.gas <= planned.batches * TRANSACTION_GAS_CAP


@given(st.integers(1, 50), st.integers(51, 500), st.integers(21_000, 100_000), st.integers(0, 10**7))
def test_a_measured_model_never_says_less_than_was_measured(few: int, many: int, few_gas: int, more_gas: int) -> None:
    model = GasModel.through((few, few_gas), (many, few_gas + more_gas))
    assert model.gas(few) >= few_gas
    assert model.gas(many) >= few_gas + more_gas


def test_a_model_goes_through_two_measurements() -> None:
    assert GasModel.through((10, 340_000), (100, 2_950_000)) == GasModel(base=50_000, per_item=29_000)


@pytest.mark.parametrize(("few", "many"), [(0, 5), (5, 5), (6, 5)])
def test_measurements_of_the_same_size_make_no_model(few: int, many: int) -> None:
    with pytest.raises(ValueError, match="more items than the first"):
        GasModel.through((few, 1), (many, 2))
