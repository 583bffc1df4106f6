package archive

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// RecoverJobs takes up what an earlier process left, before any job is begun: it gives those that wait,
// in the order of their coming, and removes files that belong to none. Those that ran wait again.
func (a *Archive) RecoverJobs() (waiting []*Job, err error) {
	if err := a.archiveWide(); err != nil {
		return nil, err
	}
	wanted := map[string]bool{}
	var lost, ran []string
	err = a.cat.view(func(t *tx) error {
		return t.scan(bktJob, jobRow(""), prefixEnd(jobRow("")), func(k, v []byte) (bool, error) {
			var r jobRecord
			if _, err := decodeRecord(v, &r); err != nil {
				return false, damaged("job", string(k[1:]), err)
			}
			switch r.State {
			case JobReceiving:
				wanted[r.ID+bodyFile] = true
			case JobRefused:
				wanted[r.ID+answerFile] = true
			case JobReceived, JobDelayed, JobRunning:
				wanted[r.ID+bodyFile] = true
				waiting = append(waiting, &r.Job)
				if _, err := os.Stat(a.jobPath(r.ID, bodyFile)); r.Key == nil || errors.Is(err, fs.ErrNotExist) {
					lost = append(lost, r.ID)
				} else if r.State == JobRunning {
					ran = append(ran, r.ID)
				}
			}
			return true, nil
		})
	})
	if err == nil {
		err = a.sweepJobFiles(wanted)
	}
	if err != nil {
		return nil, fmt.Errorf("taking jobs up: %w", err)
	}
	again := func(id string, state JobState, code string) {
		var j *Job
		if err == nil {
			j, err = a.changeJob(id, func(r *jobRecord, _ [32]byte, _ []byte) (bool, error) {
				r.add(state, code)
				return state == JobReceived, nil
			})
		}
		i := slices.IndexFunc(waiting, func(w *Job) bool { return w.ID == id })
		if waiting[i] = j; err == nil && state == JobRefused {
			waiting = slices.Delete(waiting, i, i+1)
		}
	}
	for _, id := range lost {
		again(id, JobRefused, CodeBodyLost)
	}
	for _, id := range ran {
		again(id, JobReceived, CodeInterrupted)
	}
	if err != nil {
		return nil, fmt.Errorf("taking jobs up: %w", err)
	}
	slices.SortStableFunc(waiting, func(x, y *Job) int { return x.Received.Compare(y.Received) })
	return waiting, nil
}

// The codes of steps that the archive itself takes.
const (
	CodeBodyLost    = "body-lost"   // such as after a rebuild: bodies are of one machine
	CodeInterrupted = "interrupted" // the program ended while the job ran
)

// sweepJobFiles removes the files of the folder of jobs that nobody wants.
func (a *Archive) sweepJobFiles(wanted map[string]bool) error {
	entries, err := os.ReadDir(filepath.Join(a.dir, jobDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		if err == nil && !wanted[e.Name()] && strings.HasPrefix(e.Name(), jobID) {
			err = a.removeJobFile(e.Name())
		}
	}
	return err
}

// maxJobsKept bounds the jobs of a tenant that have ended and are told of: of more, the oldest are
// forgotten before their time.
const maxJobsKept = 100_000

// ForgetJobs forgets what became of jobs that ended long enough ago, and gives their number.
func (a *Archive) ForgetJobs() (n int, err error) {
	if err := a.archiveWide(); err != nil {
		return 0, err
	}
	old, err := a.oldJobs(now().Add(-KeepJob), maxJobsKept)
	if err != nil || len(old) == 0 {
		return 0, err
	}
	err = a.changeJobs(func(t *tx) error {
		for _, j := range old {
			if err := errors.Join(t.delete(bktJob, jobRow(j.ID)), t.delete(bktJob, jobListRow(j.Tenant, j.Received, j.ID))); err != nil {
				return err
			}
		}
		return nil
	})
	for _, j := range old { // a crash here leaves files that are swept
		if err == nil {
			err = a.removeJobFile(j.ID + answerFile)
		}
	}
	if err != nil {
		return 0, fmt.Errorf("forgetting jobs: %w", err)
	}
	return len(old), nil
}

// oldJobs are some of the jobs that ended before a time, and of those of a tenant that are more than
// most, the oldest.
func (a *Archive) oldJobs(before time.Time, most int) (old []*Job, err error) {
	ended := map[string]int{}
	each := func(t *tx, f func(j *Job) bool) error {
		return t.scan(bktJob, []byte("l"), prefixEnd([]byte("l")), func(k, _ []byte) (bool, error) {
			r, _, err := t.jobRecord(string(k[len(k)-idSize:]))
			return err == nil && (!r.State.ended() || f(&r.Job)), err
		})
	}
	err = a.cat.view(func(t *tx) error {
		err := each(t, func(j *Job) bool {
			ended[j.Tenant]++
			return true
		})
		if err != nil {
			return err
		}
		return each(t, func(j *Job) bool {
			if ended[j.Tenant] > most || j.Events[len(j.Events)-1].Time.Before(before) {
				ended[j.Tenant]--
				old = append(old, j)
			}
			return len(old) < a.stageItems
		})
	})
	return old, err
}
