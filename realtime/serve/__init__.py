"""The page in the browser (--serve): the live picture, numbers and controls for several viewers.

address.py where it listens; guard.py who may look; newest.py the newest picture, encoded once and
only when asked for; figures.py the numbers; buttons.py the controls; board.py what a page shows
and offers, all that in one; viewers.py one coroutine a viewer; server.py the thread and its
routes; page.py the sink of one source; wall.py the board of several; static/ what the browser gets.
"""
