"""A job that ran out of memory, in a real browser before a real service: from the failure to the changed copy."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.pages.test_browser import expect_state, hand_in

pytestmark = pytest.mark.browser

TASK = """\
task_id: too_large
resources:
  min_memory: 4G
command: |
  echo "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total \\
  capacity of 79.25 GiB of which 1.00 GiB is free. Including non-PyTorch memory, this process \\
  has 5.00 GiB memory in use." >&2
  exit 1
"""


def test_a_failure_names_the_change_and_opens_the_form_with_it(page):
    hand_in(page, TASK)
    expect_state(page, "failed")
    failure = page.locator("#failure")
    expect(failure).to_contain_text("PyTorch had 5 GiB and asked for 2 GiB more.")
    expect(failure).to_contain_text("min_memory: 8G")
    failure.get_by_role("link", name=re.compile("Clone so")).first.click()
    expect(page.locator("#changes")).to_contain_text("resources.min_memory: 8G")
    expect(page.get_by_label("Task file", exact=True)).to_have_value(re.compile("min_memory: 8G"))
    page.get_by_role("button", name="Submit job").click()
    page.wait_for_url(re.compile(r"/jobs/[a-z0-9]{12}/$"))
    expect(page.locator("h1")).to_contain_text("too_large#2")
