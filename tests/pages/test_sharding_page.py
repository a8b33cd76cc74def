"""The page of a job whose booking has followed its use."""

from __future__ import annotations

from django.urls import reverse

from jobs import rebooking
from jobs.models import Allocation
from tests.rows import GIB, a_device, a_running_job


def test_the_page_says_what_is_booked_what_was_asked_and_why(client, member):
    job, _attempt = a_running_job(device=a_device(), owner=member, memory=40 * GIB)
    Allocation.objects.update(peak=10 * GIB)
    booking = Allocation.objects.select_related("attempt__job", "device__node").get()
    assert rebooking.rebook(booking, 11 * GIB, margin=1.1)
    page = client.get(reverse("job", args=[job.pk])).content.decode()
    assert "gpu0: 11 GiB booked, as measured; 40 GiB asked." in page
    told = (
        "booking on node-a gpu0 from 40 GiB to 11 GiB: the most that it used was 10 GiB, plus 10 %"
    )
    assert f"less memory booked: {told}" in page
