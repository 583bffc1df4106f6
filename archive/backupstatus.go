package archive

import (
	"fmt"
	"time"

	"sae/archive/serving"
)

// problems says what a person should look at: of backups that the service is to make, and of the last one
// that was made, by whomever.
func (s *BackupState) problems(due *serving.Backup, replaced int64) (out []string) {
	switch {
	case due != nil && s == nil:
		out = append(out, "there is no backup yet: sae serve makes one, or run sae backup")
	case due != nil && time.Since(s.Time) > 2*due.Every:
		out = append(out, fmt.Sprintf("the last backup is of %s, and there should be one every %s: see the log of sae serve, or run sae backup", s.Time.Format(time.RFC3339), due.Every))
	}
	if s != nil && s.Replaced != replaced {
		out = append(out, "the last backup does not open with the root key of today, which was replaced since: run sae backup")
	}
	if s != nil && s.Lacking > 0 {
		out = append(out, fmt.Sprintf("the last backup lacks %d blobs, of which no offer had a good copy: run sae audit --repair", s.Lacking))
	}
	return out
}
