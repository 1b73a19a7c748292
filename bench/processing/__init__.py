"""Processor calls: how many a second one process of `paystream flow processing` makes, beside bare aiohttp."""
