package archive

// smallShards lets an archive search in shards of 256 data keys.
func smallShards(a *Archive) *Archive {
	a.shardLevel = 1
	return a
}
