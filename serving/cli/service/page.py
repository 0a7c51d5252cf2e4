"""`bondhu page`: prints a one-time sign-in link for the web page."""

import typer

from serving.auth.sign_in import LINK_MINUTES, link, make_code
from serving.cli.console import Exit, err, fail, settings_or_exit
from serving.config.addresses import gateway_url


def page() -> None:
    """Print a link that signs a browser in to the web page once."""
    settings = settings_or_exit()
    if not settings.gateway.page:
        fail("the web page is off: set gateway.page to true", Exit.CONFIGURATION)
    typer.echo(link(gateway_url(settings), make_code(settings.var_dir)))
    err.print(f"valid once, within {LINK_MINUTES} minutes; the page asks for the person's name")
