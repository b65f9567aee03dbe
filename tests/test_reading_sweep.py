"""Every published architecture and every value of a config is read right, asked for or refused."""

import pytest
from reading_alike import alike_cases
from reading_cases import Case, judge
from reading_timm import timm_cases
from reading_transformers import transformers_cases

GOOD = {"right", "asked", "refused", "assumed"}


def pytest_generate_tests(metafunc):
    """Everyday tests need no list of the cases, which takes seconds to make."""
    everyday = metafunc.config.option.markexpr == "not slow"
    cases = [] if everyday else [*timm_cases(), *transformers_cases(), *alike_cases()]
    metafunc.parametrize("case", cases, ids=lambda case: case.id)


@pytest.mark.slow
@pytest.mark.sweep("reading", core=("vit_base_patch16_224]", "-plain]"))
def test_no_checkpoint_is_read_as_another_model(tmp_path, case: Case, record_property):
    """`scripts/reading_sweep.py` writes the recorded outcomes into the documentation."""
    outcome = judge(case, tmp_path)
    record_property("case", f"{case.library}|{case.form}|{case.family}")
    record_property("outcome", outcome.kind)
    record_property("words", outcome.text)
    if outcome.kind == "impossible":
        pytest.skip("the library builds no small model of it")
    assert outcome.kind in GOOD, outcome.text
