"""The pages: authorise, ask, render. One module a page; rules live in the modules that these call."""
