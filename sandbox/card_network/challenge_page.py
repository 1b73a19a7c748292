"""The page where a customer passes or fails the bank's challenge (3-D Secure): two buttons, no script.

Reads and writes nothing; `app` serves it.
"""

from html import escape

from sandbox.card_network.booking import Booking, Status

__all__ = ["HEADERS", "page"]

HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
}

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Test bank: confirm your payment</title>
<style>
body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 26rem; margin: 4rem auto; padding: 0 1rem; color: #1a1f36; }}
button {{ font: inherit; padding: .6rem 1.2rem; margin-right: .5rem; border: 1px solid #1a1f36; border-radius: .4rem;
  background: #fff; color: inherit; cursor: pointer; }}
button[value=complete] {{ background: #1a1f36; color: #fff; }}
dt {{ font-weight: 600; }}
</style>
</head>
<body>
<main>
<h1>Test bank</h1>
<dl><dt>Amount</dt><dd>{amount} {currency}, in minor units</dd><dt>Payment</dt><dd>{payment_intent}</dd></dl>
{body}
</main>
</body>
</html>
"""

_FORM = """<p>No real bank asks here: choose how the challenge ends.</p>
<form method="post">
<button name="outcome" value="complete">Complete</button>
<button name="outcome" value="fail">Fail</button>
</form>"""

_OVER = {
    Status.approved: "<p>The payment was confirmed. You can close this page.</p>",
    Status.declined: "<p>The payment was not confirmed. You can close this page.</p>",
}


def page(authorization: Booking) -> str:
    """The form while the challenge is open, else how it ended."""
    return _PAGE.format(
        amount=authorization.amount_minor,
        currency=escape((authorization.currency or "").upper()),
        payment_intent=escape(authorization.payment_intent),
        body=_OVER.get(authorization.status, _FORM),
    )
