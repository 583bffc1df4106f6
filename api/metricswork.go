package api

import (
	"fmt"
	"io"

	"sae/archive"
)

// writeWork writes what the archive did, and what it holds, beside what is there in the first place
// (metrics.go). Labels are works, offers and authorities, by the names of the configuration.
func writeWork(w io.Writer, g *archive.Gauges) {
	one := func(name, kind, help string, v any) {
		head(w, name, kind, help)
		fmt.Fprintf(w, "%s %v\n", name, v)
	}
	writeCounts(w, g.Counts)
	one("sae_deposited_units_total", "counter", "units that were deposited since the service began", g.Counts.Units)
	one("sae_deposited_objects_total", "counter", "objects that were deposited since the service began", g.Counts.Objects)
	one("sae_deposited_bytes_total", "counter", "bytes of content that were deposited since the service began", g.Counts.Bytes)
	one("sae_storing_deposits", "gauge", "deposits that store their content, or wait for the committer", g.Storing)
	one("sae_commit_queue", "gauge", "operations that wait for the committer", g.Queued)
	one("sae_catalogue_free_bytes", "gauge", "bytes that are free where the catalogue lies", g.Free)
	head(w, "sae_offer_free_bytes", "gauge", "bytes that are free in a folder for copies")
	for _, o := range g.Offers {
		if !o.Bucket {
			fmt.Fprintf(w, "sae_offer_free_bytes{offer=%q} %d\n", o.Name, o.Free)
		}
	}
	head(w, "sae_offer_size_bytes", "gauge", "bytes of the file system of a folder for copies")
	for _, o := range g.Offers {
		if !o.Bucket {
			fmt.Fprintf(w, "sae_offer_size_bytes{offer=%q} %d\n", o.Name, o.Size)
		}
	}
	if a := g.LastAudit; a != nil {
		one("sae_last_audit_timestamp_seconds", "gauge", "time of the last audit", a.Time.Unix())
		one("sae_last_audit_sample_ratio", "gauge", "share of the objects that the last audit read", a.Sample)
		one("sae_last_audit_damage", "gauge", "findings of the last audit that were not repaired", a.Findings-a.Repaired)
		one("sae_last_audit_lost", "gauge", "objects without a good copy that the last audit found", a.Lost)
	}
	if b := g.LastBackup; b != nil {
		one("sae_last_backup_timestamp_seconds", "gauge", "time at which the last backup ended", b.Time.Unix())
		one("sae_last_backup_duration_seconds", "gauge", "time that the last backup took", b.Seconds)
		one("sae_last_backup_size_bytes", "gauge", "bytes of the last backup", b.Bytes)
		one("sae_last_backup_new_bytes", "gauge", "bytes of the last backup that were not in the folder before", b.NewBytes)
		one("sae_last_backup_lacking_blobs", "gauge", "blobs of which there was no good copy for the last backup", b.Lacking)
	}
}

// writeCounts writes what was done, and what authorities were asked.
func writeCounts(w io.Writer, c *archive.Counts) {
	head(w, "sae_work_seconds", "histogram", "time that works of the archive took, by work")
	for _, work := range archive.Works {
		n := c.Work[work]
		for i, b := range archive.WorkBounds {
			fmt.Fprintf(w, "sae_work_seconds_bucket{work=%q,le=\"%g\"} %d\n", work, b, n.Within[i])
		}
		fmt.Fprintf(w, "sae_work_seconds_bucket{work=%q,le=\"+Inf\"} %d\nsae_work_seconds_sum{work=%q} %g\nsae_work_seconds_count{work=%q} %d\n", work, n.Done, work, n.Seconds, work, n.Done)
	}
	head(w, "sae_work_failed_total", "counter", "works of the archive that failed or were refused, by work")
	for _, work := range archive.Works {
		fmt.Fprintf(w, "sae_work_failed_total{work=%q} %d\n", work, c.Work[work].Failed)
	}
	head(w, "sae_authority_requests_total", "counter", "time-stamps that an authority was asked for")
	for _, a := range c.Authorities {
		fmt.Fprintf(w, "sae_authority_requests_total{authority=%q} %d\n", a.Name, a.Requests)
	}
	head(w, "sae_authority_failures_total", "counter", "time-stamps that an authority did not give")
	for _, a := range c.Authorities {
		fmt.Fprintf(w, "sae_authority_failures_total{authority=%q} %d\n", a.Name, a.Failed)
	}
	head(w, "sae_authority_last_token_timestamp_seconds", "gauge", "time at which an authority last gave a time-stamp, since the service began")
	for _, a := range c.Authorities {
		if a.Last != nil {
			fmt.Fprintf(w, "sae_authority_last_token_timestamp_seconds{authority=%q} %d\n", a.Name, a.Last.Unix())
		}
	}
}
