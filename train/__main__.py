"""`python -m train fit|tune|evaluate|compare|router|...`; Ray and torch come inside."""

from rayraft.commands import new_app
from train import (
    embedder_command,
    evaluate_command,
    fit_command,
    mini_command,
    refresh_command,
    reranker_command,
    router_command,
    tune_command,
)
from train.compare import advise_command
from train.compare import command as compare_command

app = new_app("Fine-tuning on Ray Train with DeepSpeed, and evaluation.")
fit_command.register(app)
tune_command.register(app)
reranker_command.register(app)
embedder_command.register(app)
evaluate_command.register(app)
compare_command.register(app)
advise_command.register(app)
router_command.register(app)
mini_command.register(app)
refresh_command.register(app)

if __name__ == "__main__":
    app(prog_name="python -m train")
