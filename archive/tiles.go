package archive

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

const (
	tileHeight = 8
	tileWidth  = 1 << tileHeight
)

// ExportTiles writes the ledger into dir in the layout of C2SP tlog-tiles: tiles
// first, then entry bundles, the checkpoint last, so that a reader never meets a
// checkpoint whose tiles are missing. Full tiles that are there already are left:
// they never change. It gives the number of files written.
func (a *Archive) ExportTiles(ctx context.Context, dir string) (files int, err error) {
	if err := a.archiveWide(); err != nil {
		return 0, err
	}
	var signed []byte
	err = a.cat.view(func(t *tx) error {
		cp, err := a.checkpointIn(t)
		if err != nil {
			return err
		}
		b, err := t.get(bktMeta, metaCheckpoint)
		if err != nil {
			return err
		}
		signed = bytes.Clone(b)
		for _, tile := range tlog.NewTiles(tileHeight, 0, cp.Size) {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			wrote, err := a.exportTile(t, dir, tile)
			if err != nil {
				return err
			}
			files += wrote
		}
		return nil
	})
	if err != nil {
		return files, fmt.Errorf("exporting tiles: %w", err)
	}
	if err := a.fs.WriteFile(filepath.Join(dir, "checkpoint"), signed, 0o644); err != nil {
		return files, fmt.Errorf("exporting tiles: %w", err)
	}
	return files + 1, nil
}

// exportTile writes one tile and, for one of level 0, its entry bundle.
func (a *Archive) exportTile(t *tx, dir string, tile tlog.Tile) (files int, err error) {
	write := func(path string, make func() ([]byte, error)) error {
		path = filepath.Join(dir, filepath.FromSlash(path))
		if fi, err := os.Stat(path); err == nil && tile.W == tileWidth && fi.Mode().IsRegular() {
			return nil
		}
		data, err := make()
		if err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		files++
		return a.fs.WriteFile(path, data, fs.FileMode(0o644))
	}
	// C2SP drops the height from tlog's path, "tile/8/...".
	path := strings.Replace(tile.Path(), "tile/8/", "tile/", 1)
	err = write(path, func() ([]byte, error) { return tlog.ReadTileData(tile, hashReader{t}) })
	if err == nil && tile.L == 0 {
		err = write(strings.Replace(path, "tile/0/", "tile/entries/", 1), func() ([]byte, error) { return t.entryBundle(tile) })
	}
	return files, err
}

// entryBundle gives the entries of a tile, each behind its length as 16 bits.
func (t *tx) entryBundle(tile tlog.Tile) ([]byte, error) {
	var out []byte
	for i := range tile.W {
		e, err := t.entry(tile.N*tileWidth + int64(i))
		if err != nil {
			return nil, err
		}
		out = append(binary.BigEndian.AppendUint16(out, uint16(len(e))), e...)
	}
	return out, nil
}

// Tile gives what stands at a path of the layout of C2SP tlog-tiles, "tile/..." or "tile/entries/...",
// as far as the ledger has it.
func (a *Archive) Tile(path string) (data []byte, err error) {
	name, entries := strings.CutPrefix(path, "tile/entries/")
	if entries {
		path = "tile/0/" + name
	}
	tile, err := tlog.ParseTilePath(strings.Replace(path, "tile/", fmt.Sprintf("tile/%d/", tileHeight), 1))
	if err != nil || tile.L < 0 {
		return nil, fmt.Errorf("tile %q: %w", path, ErrNotFound)
	}
	err = a.cat.view(func(t *tx) error {
		cp, err := a.checkpointIn(t)
		if err != nil {
			return err
		}
		if have := cp.Size >> (tileHeight * tile.L); tile.L > 7 || tile.N > have || tile.N*tileWidth+int64(tile.W) > have {
			return fmt.Errorf("tile %q: %w", path, ErrNotFound)
		}
		if entries {
			data, err = t.entryBundle(tile)
		} else {
			data, err = tlog.ReadTileData(tile, hashReader{t})
		}
		return err
	})
	return data, err
}
