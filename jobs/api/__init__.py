"""The REST interface: `/api/v1/` and the article's `/submit`.

Routes parse, authorise and answer; what they do is done by the functions that pages and command line call, too.
"""
