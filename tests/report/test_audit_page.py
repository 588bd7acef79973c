"""The page of an audit says the verdict first, then each check with its figures and what it points to."""

import re
from html import unescape

import pytest
import torch

from lowerbound.auditing import Audit, Check, audit
from lowerbound.report.audit import CHECKS, audit_page

NORMAL = torch.distributions.Independent(torch.distributions.Normal(torch.zeros(2).double(), 1.0), 1)


@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_a_page_holds_all_that_was_found(shift):
    found = audit(
        lambda x: NORMAL.log_prob(torch.as_tensor(x)) + shift,
        sample=lambda num: NORMAL.sample((num,)),
        bound=lambda x: NORMAL.log_prob(x) - 0.1,
        num_draws=500,
        num_samples=300,
    )
    page = audit_page(found)
    text = unescape(re.sub(r"<[^>]+>", "\n", page))
    order = [f"{found.verdict.capitalize()}: ", f"of {len(found.checks)} checks", "All checks", "Glossary"]
    assert sorted(order, key=text.index) == order
    for check in found.checks:
        assert check.claim in text
        assert check.finding in text
        assert check.remedy in text
        assert CHECKS[check.name] in text
    assert ("Failed" in text) == bool(shift)
    assert not re.search(r"src=|href=", page)


def test_text_of_strangers_is_escaped_and_words_that_do_not_occur_are_left_out():
    check = Check("<b>", "holds", "can't tell", "<script>", "more time")
    page = audit_page(Audit("<i>", 1, (check,), "a note"))
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "A note." in page
    assert "Can&#x27;t tell: no check could be made; of 1 check 0 passed, 0 failed, 1 cannot be told." in page
    assert CHECKS["repeats"] not in page
