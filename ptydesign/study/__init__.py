"""What every study is: its file, its checks, its store of trials, what its jobs cost."""
