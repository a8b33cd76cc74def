"""The addresses of the pages."""

from __future__ import annotations

from django.contrib.auth.views import LogoutView
from django.urls import path

from jobs.views import (
    account,
    charts,
    datasets,
    healthpage,
    job,
    joblist,
    joblog,
    overview,
    projects,
    reports,
    signin,
    submit,
    uploads,
    whatif,
)

urlpatterns = [
    path("", overview.overview, name="overview"),
    path("parts/fleet", overview.fleet_part, name="part-fleet"),
    path("parts/queue", overview.queue_part, name="part-queue"),
    path("parts/running", overview.running_part, name="part-running"),
    path("signin/", signin.SignIn.as_view(), name="signin"),
    path("signin/<str:token>", signin.signin_link, name="signin-link"),
    path("signout/", LogoutView.as_view(), name="signout"),
    path("account/", account.account, name="account"),
    path("account/password", account.password, name="password"),
    path("account/preferences", account.preferences, name="preferences"),
    path("account/tokens", account.create_token, name="token-create"),
    path("account/tokens/<int:token_id>/revoke", account.revoke_token, name="token-revoke"),
    path("jobs/", joblist.job_list, name="job-list"),
    path("jobs/new", submit.submit, name="submit"),
    path("jobs/new/check", submit.check, name="submit-check"),
    path("jobs/<str:job_id>/", job.job_page, name="job"),
    path("jobs/<str:job_id>/part", job.job_part, name="job-part"),
    path("jobs/<str:job_id>/pause", job.pause, name="job-pause"),
    path("jobs/<str:job_id>/resume", job.resume, name="job-resume"),
    path("jobs/<str:job_id>/cancel", job.cancel, name="job-cancel"),
    path("jobs/<str:job_id>/priority", job.priority, name="job-priority"),
    path("jobs/<str:job_id>/charts", charts.job_charts, name="job-charts"),
    path("jobs/<str:job_id>/log", joblog.log_lines, name="job-log"),
    path("jobs/<str:job_id>/log/download", joblog.log_download, name="job-log-download"),
    path("datasets/", datasets.dataset_list, name="dataset-list"),
    path("datasets/uploads", uploads.begin, name="upload-begin"),
    path("datasets/uploads/<str:upload_id>", uploads.part, name="upload"),
    path("datasets/uploads/<str:upload_id>/finish", uploads.finish, name="upload-finish"),
    path("datasets/<str:dataset_id>/", datasets.dataset_page, name="dataset"),
    path("datasets/<str:dataset_id>/delete", datasets.delete, name="dataset-delete"),
    path("health/", healthpage.health_page, name="health"),
    path("reports/", reports.reports, name="reports"),
    path("whatif/", whatif.whatif, name="whatif"),
    path("whatif/<str:replay_id>/", whatif.whatif_answer, name="whatif-answer"),
    path("whatif/<str:replay_id>/part", whatif.whatif_part, name="whatif-part"),
    path("projects/", projects.project_list, name="project-list"),
    path("projects/<slug:slug>/", projects.project_page, name="project"),
    path("projects/<slug:slug>/members", projects.add_member, name="member-add"),
    path(
        "projects/<slug:slug>/members/<int:user_id>/remove",
        projects.remove_member,
        name="member-remove",
    ),
]
