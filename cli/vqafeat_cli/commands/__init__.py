"""The commands, each in a file of its own."""

from vqafeat_cli.commands.compare import compare
from vqafeat_cli.commands.coral import coral
from vqafeat_cli.commands.demo import demo
from vqafeat_cli.commands.demo_pretrain import demo_pretrain
from vqafeat_cli.commands.ensemble import ensemble
from vqafeat_cli.commands.evaluate import evaluate
from vqafeat_cli.commands.extract import extract
from vqafeat_cli.commands.fit import fit
from vqafeat_cli.commands.importing import importing
from vqafeat_cli.commands.listing import listing
from vqafeat_cli.commands.packing import pack, unpack
from vqafeat_cli.commands.predict import predict
from vqafeat_cli.commands.pretrain import pretrain
from vqafeat_cli.commands.report import report
from vqafeat_cli.commands.showing import show, verify
from vqafeat_cli.commands.table import table

ALL = [
    extract,
    fit,
    evaluate,
    ensemble,
    compare,
    report,
    predict,
    importing,
    pretrain,
    coral,
    listing,
    show,
    verify,
    pack,
    unpack,
    table,
    demo,
    demo_pretrain,
]
