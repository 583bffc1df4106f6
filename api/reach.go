package api

import "sae/archive/serving"

// Reach asks a provider of tokens for its configuration, as the service does when the first token comes.
func Reach(i serving.Issuer) error {
	p, err := newProvider(i)
	if err == nil {
		_, err = p.discover()
	}
	return err
}
