"""What the page shows; Panel and Bokeh, and nothing that reads files or computes."""

from ptydesign.web.views import dataset, explore, reconstruction, runs, start, study

# Address -> function of the site that makes the page for one browser.
PAGES = {
    "/": runs.view,
    "/study": study.view,
    "/reconstruction": reconstruction.view,
    "/dataset": dataset.view,
    "/explore": explore.view,
    "/start": start.view,
}
