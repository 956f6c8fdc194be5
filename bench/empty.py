"""The least that a cdk8s app in Python does: start Node.js, make one empty chart, write it. Usage: empty.py FOLDER."""

import sys

from cdk8s import App, Chart

app = App(outdir=sys.argv[1])
Chart(app, "empty")
app.synth()
