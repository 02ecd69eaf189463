"""The command that reviews scripts."""

from collections.abc import Mapping
from pathlib import Path

from invoke import Context, Exit

from postgres_database.commands.command import DIFFERENT, command
from postgres_database.errors import ExpectedError
from postgres_database.tasks.shared import JSON, project_and_environment

PAGE = "review.html"
"""The file of the page, if none is named."""


@command(
    help={
        "env": "review what is pending there, judged by the sizes of its tables (default: the variable ENV)",
        "from_": "without --env: the revision after which the scripts begin (default: what git's main branch lacks)",
        "to": "without --env: the last revision (default head)",
        "plan": "pin what was reviewed in this file, for upgrade --plan; without --env: of the default target",
        "deployed": "the git ref that is deployed: whether its models use what is dropped, renamed or needs a value",
        "fail_on": "end with exit code 2 from this level on: note, warning or error (default error)",
        "markdown": "print it as Markdown, for a comment in a pull request; or write it to this file",
        "sarif": "print it as SARIF, for code scanners; or write it to this file",
        "html": "write it as a page with pictures, which needs no network (default review.html)",
        "json": JSON,
    },
    optional=["markdown", "sarif", "html"],
)
def review(
    c: Context,
    env: str = "",
    from_: str = "",
    to: str = "",
    plan: str = "",
    deployed: str = "",
    fail_on: str = "error",
    markdown: str | bool = "",
    sarif: str | bool = "",
    html: str | bool = "",
    json: bool = False,
) -> None:
    """Run pending scripts on a scratch database, and show what each statement locks, rewrites and scans."""
    from postgres_database.console import review_report, show_review, terminal
    from postgres_database.pages import review_page
    from postgres_database.reviewing import findings, pins
    from postgres_database.server import embedded
    from postgres_database.workflows import review as workflow

    project, environment = project_and_environment(env)
    _require_usable(
        fail_on,
        plan,
        environment.name,
        {name: value for name, value in (("--from", from_), ("--to", to)) if value},
    )
    named = environment.name or plan
    target = embedded.target(environment, project.versions) if named else None
    quiet = json or markdown is True or sarif is True
    listener = terminal.Terminal(environment, quiet=quiet)
    if target and not quiet:
        terminal.say(f"{target}", style="bold")
    result = workflow.perform(
        project,
        environment,
        target,
        (from_, to),
        listener,
        pinning=bool(plan),
        deployed=deployed,
        drawing=bool(html),
    )
    if result.pinned:
        show_review.write(Path(plan), pins.text(result.pinned), quiet=quiet)
    if json:
        terminal.raw(review_report.as_json(result))
    pages = (markdown, review_report.as_markdown), (sarif, review_report.as_sarif)
    for place, text in pages:
        if place is True:
            terminal.raw(text(result))
        elif place:
            show_review.write(Path(str(place)), text(result), quiet=quiet)
    if html:
        page = Path(PAGE if html is True else html)
        show_review.write(page, review_page.as_html(result), quiet=quiet)
    if not quiet:
        show_review.review(result)
    if findings.open_at(result.findings, fail_on):
        raise Exit(code=DIFFERENT)


def _require_usable(fail_on: str, plan: str, env: str, span: Mapping[str, str]) -> None:
    from postgres_database.reviewing import findings

    if fail_on not in findings.LEVELS:
        raise ExpectedError(
            f"--fail-on {fail_on} is no level",
            cause=f"the levels are {', '.join(findings.LEVELS)}",
            hint="invoke review --fail-on warning",
        )
    if plan and span:
        raise ExpectedError(
            f"--plan does not go with {' and '.join(span)}",
            cause="a plan pins all that is pending on a target, and the state of the target",
            hint=f"invoke review --plan {plan}",
        )
    if env and span:
        options = "".join(f" {name} {value}" for name, value in span.items())
        raise ExpectedError(
            f"{' and '.join(span)} does not go with an environment, and {env} is named",
            cause="of an environment all that is pending there is reviewed; of a span every table may be large",
            hint=f"invoke review --env {env}   (or env -u ENV invoke review{options})",
        )
