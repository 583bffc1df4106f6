package seda

import (
	"bytes"
	"compress/flate"
	"io"
)

// packed keeps many small texts that resemble each other, numbered from 0, in little
// memory: compressed in blocks. Texts are asked for more or less in their order.
type packed struct {
	texts  []packedText
	blocks [][]byte // compressed
	open   []byte   // the block that is being filled
	read   [8]struct {
		block int
		text  []byte
	}
	deflate *flate.Writer
}

type packedText struct{ block, start, end int32 }

// packedBlock is the size from which a block is closed.
const packedBlock = 32 << 10

// add takes the next text.
func (p *packed) add(text []byte) {
	start := len(p.open)
	p.open = append(p.open, text...)
	p.texts = append(p.texts, packedText{int32(len(p.blocks)), int32(start), int32(len(p.open))})
	if len(p.open) < packedBlock {
		return
	}
	var b bytes.Buffer
	if p.deflate == nil {
		p.deflate, _ = flate.NewWriter(&b, flate.BestSpeed) // the level is a good one
	} else {
		p.deflate.Reset(&b)
	}
	p.deflate.Write(p.open) // to memory: it cannot fail
	p.deflate.Close()
	p.blocks = append(p.blocks, bytes.Clone(b.Bytes()))
	p.open = p.open[:0]
}

// get gives text i, nil when it was not added. It is valid for as long as the caller
// wants.
func (p *packed) get(i int) []byte {
	if i >= len(p.texts) {
		return nil
	}
	t := p.texts[i]
	block := p.open
	if int(t.block) < len(p.blocks) {
		block = p.block(int(t.block))
	}
	return bytes.Clone(block[t.start:t.end])
}

func (p *packed) block(n int) []byte {
	kept := &p.read[n%len(p.read)]
	if kept.text == nil || kept.block != n {
		text, err := io.ReadAll(flate.NewReader(bytes.NewReader(p.blocks[n])))
		if err != nil {
			panic(err) // what add has just written
		}
		kept.block, kept.text = n, text
	}
	return kept.text
}
