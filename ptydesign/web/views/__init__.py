"""What the page shows; Panel and Bokeh, and nothing that reads files or computes."""

from ptydesign.web.views import explore, reconstruction, runs, study

# Address -> function of the site that makes the page for one browser.
PAGES = {"/": runs.view, "/study": study.view, "/explore": explore.view, "/reconstruction": reconstruction.view}
