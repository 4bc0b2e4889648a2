"""Floor 2: sigma grids, solvers and the one scanned loop. Knows neither parameters nor configs."""
