"""Notices: what went wrong, as sentences that are posted to a webhook.

`news` finds what is new, `sentences` and `compose` word it, `webhook` posts it.
"""
