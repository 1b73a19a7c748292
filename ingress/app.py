"""The merchant API as a Starlette application: its routes, and where exceptions become responses.

`build_app` is driven by `server`, and by tests with fakes for the log and the read model.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import Route

from ingress.challenges import Challenges
from ingress.health import Health
from ingress.middleware import Measured, NotTooMany, PlainPaths
from ingress.payment_intents import PaymentIntents
from ingress.problems import Problem, respond, respond_to_bug, respond_to_http
from ingress.services import Dependencies, Services

__all__ = ["build_app"]


def build_app(given: Dependencies) -> Starlette:
    """The application, on what it is given; its lifespan opens and closes `given.resources`.

    `app.state.hurry()` makes all requests that wait, and those to come, answer soon, with what is known.
    """
    services = Services(given)
    payment_intents = PaymentIntents(services)
    challenges = Challenges(services)
    health = Health(services)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for resource in given.resources:
                await stack.enter_async_context(resource())
            stack.push_async_callback(health.close)
            yield

    app = Starlette(
        routes=[
            Route("/paymentIntent", payment_intents.create, methods=["POST"]),
            Route("/paymentIntent/{id}/transaction", payment_intents.transact, methods=["POST"]),
            Route("/paymentIntent/{id}/cancel", payment_intents.cancel, methods=["POST"]),
            Route("/paymentIntent/{id}/status", payment_intents.status, methods=["GET"]),
            Route("/paymentIntent/{id}/return", challenges.returned, methods=["GET"]),
            Route("/processor/{name}/notify", challenges.notify, methods=["POST"]),
            Route("/healthz", health.healthz, methods=["GET"]),
            Route("/readyz", health.readyz, methods=["GET"]),
            Route("/metrics", given.metrics.respond, methods=["GET"]),
        ],
        middleware=[Middleware(Measured, metrics=given.metrics), Middleware(NotTooMany), Middleware(PlainPaths)],
        exception_handlers={Problem: respond, HTTPException: respond_to_http, Exception: respond_to_bug},
        lifespan=lifespan,
    )
    app.state.hurry = services.hurry
    # A path with a slash too many is another path; the redirect would lose the body, and echo what was sent.
    app.router.redirect_slashes = False
    return app
