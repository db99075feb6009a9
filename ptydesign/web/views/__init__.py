"""What the page shows; Panel and Bokeh, and nothing that reads files or computes."""

from ptydesign.web.views import explore, reconstruction, runs, start, study

# Address -> function of the site that makes the page for one browser.
PAGES = {
    "/": runs.view,
    "/study": study.view,
    "/reconstruction": reconstruction.view,
    "/explore": explore.view,
    "/start": start.view,
}
