package api

import (
	"fmt"
	"slices"

	"sae/archive"
)

// verb says who may have a verb of the program run by the service.
type verb struct {
	roles []archive.Role
	whole bool // it concerns the archive, not a tenant: on the listener of administration alone
}

// verbs are all verbs that the service runs. One that is not here is for nobody: those that begin,
// replace or serve an archive, or bring its root key out, are done on its machine. As with operations, the
// archive holds its own rules against who asks, too.
var verbs = map[string]verb{
	"deposit": {roles: depositing},

	"show":                        {roles: reading},
	"list":                        {roles: reading},
	"search":                      {roles: reading},
	"get":                         {roles: reading},
	"history":                     {roles: reading},
	"proof":                       {roles: reading},
	"export":                      {roles: reading},
	"restitute":                   {roles: []archive.Role{archive.Archivist, archive.OriginatingAgency}},
	"access explain":              {roles: reading},
	"access list":                 {roles: reading},
	"access show":                 {roles: reading},
	"access grant":                {roles: archiving},
	"access revoke":               {roles: archiving},
	"retention due":               {roles: reading},
	"retention explain":           {roles: reading},
	"retention calendar":          {roles: reading},
	"retention sample":            {roles: archiving},
	"retention start":             {roles: archiving},
	"retention samples list":      {roles: reading},
	"retention samples show":      {roles: reading},
	"retention starts list":       {roles: reading},
	"retention starts show":       {roles: reading},
	"rules list":                  {roles: ruling},
	"rules show":                  {roles: ruling},
	"rules export":                {roles: ruling},
	"rules diff":                  {roles: ruling},
	"rules import":                {roles: archiving},
	"procedure list":              {roles: ruling},
	"procedure show":              {roles: ruling},
	"procedure check":             {roles: ruling},
	"procedure add":               {roles: archiving},
	"formats":                     {roles: reading},
	"formats risks":               {roles: reading},
	"formats units":               {roles: reading},
	"convert list":                {roles: reading},
	"convert add":                 {roles: archiving},
	"convert run":                 {roles: archiving},
	"ledger checkpoint":           {roles: everyone},
	"ledger entry":                {roles: everyone},
	"ledger prove":                {roles: everyone},
	"ledger consistency":          {roles: everyone},
	"hold list":                   {roles: reading},
	"hold show":                   {roles: reading},
	"hold set":                    {roles: holding},
	"hold lift":                   {roles: holding},
	"hold review":                 {roles: holding},
	"restriction list":            {roles: reading},
	"restriction show":            {roles: reading},
	"restriction lift":            {roles: correcting},
	"retention samples take-back": {roles: archiving},
	"retention starts take-back":  {roles: archiving},

	"file list":      {roles: reading},
	"file show":      {roles: reading},
	"file open":      {roles: handling},
	"file event":     {roles: handling},
	"file close":     {roles: handling},
	"file reopen":    {roles: handling},
	"file take-back": {roles: handling},

	"subject list":    {roles: reading},
	"subject find":    {roles: reading},
	"subject show":    {roles: reading},
	"subject new":     {roles: []archive.Role{archive.Depositor, archive.Archivist, archive.OriginatingAgency, archive.DataProtection}},
	"subject link":    {roles: []archive.Role{archive.Archivist, archive.OriginatingAgency, archive.DataProtection}},
	"subject unlink":  {roles: []archive.Role{archive.Archivist, archive.OriginatingAgency, archive.DataProtection}},
	"subject rectify": {roles: correcting},
	"subject merge":   {roles: correcting},
	"subject split":   {roles: correcting},

	"eliminate list":        {roles: reading},
	"eliminate show":        {roles: reading},
	"eliminate analyse":     {roles: reading},
	"eliminate bordereau":   {roles: reading},
	"eliminate message":     {roles: reading},
	"eliminate certificate": {roles: reading},
	"eliminate propose":     {roles: archiving},
	"eliminate agree":       {roles: deciding},
	"eliminate visa":        {roles: deciding},
	"eliminate refuse":      {roles: deciding},
	"eliminate reply":       {roles: deciding},
	"eliminate withdraw":    {roles: archiving},
	"eliminate execute":     {roles: archiving},

	"transfer list":        {roles: reading},
	"transfer show":        {roles: reading},
	"transfer propose":     {roles: archiving},
	"transfer send":        {roles: archiving},
	"transfer acknowledge": {roles: archiving},
	"transfer withdraw":    {roles: archiving},

	"request list":        {roles: correcting},
	"request show":        {roles: correcting},
	"request open":        {roles: correcting},
	"request identify":    {roles: correcting},
	"request extend":      {roles: correcting},
	"request analyse":     {roles: correcting},
	"request decide":      {roles: correcting},
	"request letter":      {roles: correcting},
	"request answer":      {roles: correcting},
	"request execute":     {roles: correcting},
	"request certificate": {roles: correcting},
	"request withdraw":    {roles: correcting},
	"request purge":       {roles: correcting},

	"gdpr check":     {roles: inspecting},
	"gdpr register":  {roles: inspecting},
	"gdpr log":       {roles: inspecting},
	"gdpr purge-log": {roles: []archive.Role{archive.DataProtection}},

	"webhook add":         {roles: administering},
	"webhook list":        {roles: administering},
	"webhook show":        {roles: administering},
	"webhook disable":     {roles: administering},
	"webhook enable":      {roles: administering},
	"webhook secret":      {roles: administering},
	"webhook remove":      {roles: administering},
	"webhook deadletters": {roles: administering},
	"webhook replay":      {roles: administering},

	"apikey create": {roles: administering},
	"apikey list":   {roles: administering},
	"apikey revoke": {roles: administering},

	"status":          {roles: watching, whole: true},
	"stats":           {roles: watching, whole: true},
	"fsck":            {roles: watching, whole: true},
	"ledger verify":   {roles: watching, whole: true},
	"gdpr verify-log": {roles: watching, whole: true},
	"offer list":      {roles: watching, whole: true},
	"root status":     {roles: watching, whole: true},
	"seal":            {roles: administering, whole: true},
	"audit":           {roles: administering, whole: true},
	"repair":          {roles: administering, whole: true},
	"compact":         {roles: administering, whole: true},
	"offer sync":      {roles: administering, whole: true},
	"offer remove":    {roles: administering, whole: true},
	"root replace":    {roles: administering, whole: true},
}

var (
	depositing    = []archive.Role{archive.Depositor, archive.Archivist}
	archiving     = []archive.Role{archive.Archivist}
	ruling        = everyone
	holding       = []archive.Role{archive.Archivist, archive.OriginatingAgency, archive.ControlAuthority, archive.DataProtection}
	deciding      = []archive.Role{archive.Archivist, archive.OriginatingAgency, archive.ControlAuthority}
	correcting    = []archive.Role{archive.Archivist, archive.DataProtection}
	inspecting    = []archive.Role{archive.DataProtection, archive.Auditor, archive.Archivist}
	administering = []archive.Role{archive.Administrator}
	watching      = []archive.Role{archive.Administrator, archive.Auditor}
)

// mayRun reports whether a verb is for who asks, and whether this listener runs it.
func (who *Identity) mayRun(name string, whole bool) error {
	v, known := verbs[name]
	switch {
	case !known:
		return fmt.Errorf("sae %s is not run for anybody elsewhere: it is done on the machine of the archive", name)
	case v.whole && !whole:
		return fmt.Errorf("sae %s concerns the archive as a whole: ask the listener of administration (admin-listen)", name)
	case !v.whole && whole:
		return fmt.Errorf("sae %s concerns a tenant: ask the service, not its listener of administration", name)
	case !slices.ContainsFunc(v.roles, func(r archive.Role) bool { return slices.Contains(who.Roles, r) }):
		return fmt.Errorf("sae %s: %w; it is for %s", name, errDenied, rolesText(v.roles))
	}
	return nil
}

func rolesText(roles []archive.Role) (out string) {
	for i, r := range roles {
		if i > 0 {
			out += ", "
		}
		out += string(r)
	}
	return out
}

// Verbs are all verbs that the service runs; true for those that concern the archive as a whole.
func Verbs() map[string]bool {
	out := map[string]bool{}
	for name, v := range verbs {
		out[name] = v.whole
	}
	return out
}
