"""The application behind the page: its addresses, and the answers to those who are not logged in or may not see it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import Depends, FastAPI, Form, HTTPException, Query, Request, Response, status
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse

from airflow_consent_retl.delivery.ledger.run_records import RunningTask
from airflow_consent_retl.errors import ConfigurationError, ConsentRetlError
from airflow_consent_retl.hooks.known_workspaces import KnownWorkspace, known_workspaces
from airflow_consent_retl.sight.page import pages
from airflow_consent_retl.sight.page.access import Reader, login_address
from airflow_consent_retl.sight.page.page_links import Links
from airflow_consent_retl.sight.page.page_rendering import ASSETS, asset, rendered

if TYPE_CHECKING:
    from collections.abc import Awaitable

# No address of another host, no frame of another host, nothing kept by a browser or a proxy.
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self' 'unsafe-inline'; script-src 'self'; img-src 'self' data:; "
        "form-action 'self'; frame-ancestors 'self'; base-uri 'none'"
    ),
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
# A report is a file that anyone who writes to the workspace could replace: it runs no script, and loads nothing.
_REPORT: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'none'; frame-ancestors 'self'; "
        "base-uri 'none'"
    ),
}
_CACHED: Final = {"Cache-Control": "private, max-age=31536000, immutable", "X-Content-Type-Options": "nosniff"}
_DEFAULT: Final = KnownWorkspace()
_MOST_DAYS: Final = 366
_LONGEST: Final = 1_000
_WORDS: Final = {
    status.HTTP_401_UNAUTHORIZED: ("Log in", "Your login has ended. Log in to Airflow, then open this page again."),
    status.HTTP_403_FORBIDDEN: ("No access", "You have no right to see this page. Ask an administrator of Airflow."),
    status.HTTP_404_NOT_FOUND: ("Not found", "There is nothing at this address, or nothing that you may see."),
}
_CHANGED: Final = ("Changed", "Another policy is at this place now. Open the page about policies again and read it.")

Days = Annotated[int, Query(ge=1, le=_MOST_DAYS)]
Name = Annotated[str, Query(max_length=_LONGEST)]
LongText = Annotated[str, Form(min_length=1, max_length=_LONGEST)]


@cache
def application() -> FastAPI:
    """Return the application. It describes itself nowhere: it is for people."""
    app = FastAPI(title="Consent", docs_url=None, redoc_url=None, openapi_url=None)
    app.middleware("http")(_with_headers)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _misspelt)
    app.add_exception_handler(ConsentRetlError, _failed)
    app.get("/")(overview)
    app.get("/sync")(sync)
    app.get("/run")(run)
    app.get("/report")(report)
    app.get("/policy")(policy)
    app.post("/policy")(approve)
    app.get("/person")(person_form)
    app.post("/person")(person)
    app.get("/assets/{name}")(assets)
    app.get("/{address:path}")(elsewhere)
    return app


def workspace_of(workspace: Annotated[str, Query(max_length=_LONGEST)] = "") -> KnownWorkspace:
    """Return the workspace that an address names.

    Raises:
        HTTPException: 404: the deployment does not list it. No other place is ever read.
    """
    found = known_workspaces().get(workspace)
    if found is None:
        raise HTTPException(status.HTTP_404_NOT_FOUND)
    return found


Within = Annotated[KnownWorkspace, Depends(workspace_of)]


def overview(
    request: Request, reader: Reader, within: Within, days: Days = 30, find: Annotated[str, Query(max_length=100)] = ""
) -> Response:
    """Show all syncs that the user may see."""
    return _shown(request, "overview", pages.overview(reader, within, days=days, find=find), reader, within)


def sync(
    request: Request,
    reader: Reader,
    within: Within,
    name: Name,
    days: Days = 30,
    page: Annotated[int, Query(ge=1)] = 1,
) -> Response:
    """Show one sync."""
    return _shown(request, "sync", _found(pages.sync(reader, within, name, days=days, page=page)), reader, within)


def run(
    request: Request,
    reader: Reader,
    within: Within,
    dag_id: Name,
    run_id: Name,
    task_id: Name,
    map_index: Annotated[int | None, Query(ge=0)] = None,
) -> Response:
    """Show what one task did in one run."""
    found = _found(pages.run(reader, within, dag_id, run_id, task_id, map_index))
    return _shown(request, "run", found, reader, within)


def report(
    request: Request,
    reader: Reader,
    within: Within,
    dag_id: Name,
    run_id: Name,
    task_id: Name,
    map_index: Annotated[int | None, Query(ge=0)] = None,
) -> Response:
    """Show the HTML report of a run. Where there is none for this user, lead to the page about the task."""
    found = pages.report(reader, within, dag_id, run_id)
    if found is not None:
        return HTMLResponse(found, headers=_REPORT)
    task = RunningTask(dag=dag_id, run=run_id, task=task_id, map_index=map_index)
    return RedirectResponse(_links(request, within).run(task), status_code=status.HTTP_303_SEE_OTHER)


def policy(request: Request, reader: Reader, place: Name | None = None) -> Response:
    """Show the policies at a place; without one, of the deployment's."""
    return _shown(request, "policy", _found(pages.policy(reader, place)), reader)


def approve(
    request: Request,
    reader: Reader,
    place: LongText,
    digest: LongText,
    proof: LongText,
    note: Annotated[str, Form(max_length=_LONGEST)] = "",
) -> Response:
    """Approve a policy in the name of the user who is logged in."""
    _check_site(request)
    try:
        is_approved = pages.approve(reader, place=place, digest=digest, proof=proof, note=note.strip())
    except ConfigurationError:
        return _message(request, status.HTTP_409_CONFLICT, *_CHANGED)
    if not is_approved:
        raise HTTPException(status.HTTP_403_FORBIDDEN)
    # A page that is loaded again posts nothing again.
    return RedirectResponse(_links(request).policy(place), status_code=status.HTTP_303_SEE_OTHER)


def person_form(request: Request, reader: Reader, within: Within) -> Response:
    """Show the form that asks for a person's id."""
    return _shown(request, "person", pages.person_form(reader), reader, within)


def person(request: Request, reader: Reader, within: Within, person_id: LongText) -> Response:
    """Answer about one person. The id comes in the body of the request, which no log has, and is not shown."""
    _check_site(request)
    return _shown(request, "person", pages.person(reader, within, person_id.strip()), reader, within)


def assets(name: str) -> Response:
    """Return a style sheet or a script; they contain nothing that a reader may not see."""
    if name not in ASSETS:
        raise HTTPException(status.HTTP_404_NOT_FOUND)
    return Response(asset(name), media_type=ASSETS[name], headers=_CACHED)


def elsewhere(reader: Reader, address: str) -> Response:
    """Answer for every other address, also to those who are not logged in."""
    raise HTTPException(status.HTTP_404_NOT_FOUND)


def _check_site(request: Request) -> None:
    """Refuse a form that a browser says is on another site."""
    if request.headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
        raise HTTPException(status.HTTP_403_FORBIDDEN)


def _found(contents: dict[str, Any] | None) -> dict[str, Any]:
    if contents is None:
        raise HTTPException(status.HTTP_404_NOT_FOUND)
    return contents


def _shown(
    request: Request, template: str, contents: dict[str, Any], reader: Reader, within: KnownWorkspace = _DEFAULT
) -> Response:
    links, workspaces = _links(request, within), list(known_workspaces())
    return HTMLResponse(rendered(template, links=links, reader=reader, workspaces=workspaces, **contents))


def _links(request: Request, within: KnownWorkspace = _DEFAULT) -> Links:
    return Links.of(str(request.scope.get("root_path", "")), workspace=within.name)


def _message(request: Request, code: int, title: str, text: str) -> Response:
    return HTMLResponse(
        rendered("message", links=_links(request), reader=None, title=title, text=text), status_code=code
    )


def _refused(request: Request, error: Exception) -> Response:
    code = error.status_code if isinstance(error, HTTPException) else status.HTTP_500_INTERNAL_SERVER_ERROR
    if code == status.HTTP_401_UNAUTHORIZED and request.method == "GET":
        return RedirectResponse(login_address(str(request.url)), status_code=status.HTTP_303_SEE_OTHER)
    title, text = _WORDS.get(code, ("Not possible", "Airflow refused the request."))
    return _message(request, code, title, text)


def _misspelt(request: Request, error: Exception) -> Response:
    """Answer to a wrong parameter, without its value."""
    return _message(
        request,
        status.HTTP_400_BAD_REQUEST,
        "Not understood",
        "A part of the address, or of the form, is missing or wrong.",
    )


def _failed(request: Request, error: Exception) -> Response:
    """Answer for what this package refuses: its messages contain no value of a row."""
    return _message(
        request, status.HTTP_503_SERVICE_UNAVAILABLE, "Not possible now", f"{type(error).__name__}: {error}"
    )


async def _with_headers(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    response = await call_next(request)
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    return response
