"""What nftloyalty costs and how fast it is, measured beside its peers. Each benchmark is a package to run with -m."""
