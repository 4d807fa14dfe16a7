BEGIN TRANSACTION;
CREATE TABLE admissions (account TEXT NOT NULL, label TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (account, label, value));
INSERT INTO "admissions" VALUES('lab','model','veo-3');
INSERT INTO "admissions" VALUES('studio','model','flux-2-pro');
INSERT INTO "admissions" VALUES('studio','model','seedream-4');
INSERT INTO "admissions" VALUES('studio','model','veo-3');
INSERT INTO "admissions" VALUES('studio','reason','NSFW');
INSERT INTO "admissions" VALUES('studio','reason','PROVIDER_ERROR');
CREATE TABLE generations (
	account TEXT NOT NULL, 
	id TEXT NOT NULL, 
	source TEXT NOT NULL, 
	discovered_us BIGINT NOT NULL, 
	listed BOOLEAN NOT NULL, 
	registered BOOLEAN NOT NULL, 
	traceparent TEXT, 
	status TEXT, 
	model TEXT, 
	created_us BIGINT, 
	credits_estimate_micro BIGINT, 
	observed_us BIGINT, 
	pending_us BIGINT, 
	processing_us BIGINT, 
	processing_uncertainty_us BIGINT, 
	polls INTEGER NOT NULL, 
	closed_us BIGINT, 
	drop_reason TEXT, 
	drop_us BIGINT, 
	end_us BIGINT, 
	end_recorded_us BIGINT, 
	end_via TEXT, 
	end_duration_us BIGINT, 
	end_credits_used_micro BIGINT, 
	end_outputs INTEGER, 
	end_reason TEXT, 
	end_message TEXT, unlisted_us BIGINT, reopened_us BIGINT, 
	PRIMARY KEY (account, id)
);
INSERT INTO "generations" VALUES('studio','5b91a581-ee19-4f86-9fea-bd29471d69d5','config',1762000000000000,1,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "generations" VALUES('studio','listed-pending','config',1762000000000001,1,0,NULL,'pending','flux-2-pro',1761999999000000,200000000,1762000005000000,1762000005000000,NULL,NULL,1,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "generations" VALUES('studio','listed-processing','config',1762000000000002,1,0,NULL,'processing','seedream-4',1761999999000000,200000000,1762000008000000,1762000005000000,1762000008000000,3000000,2,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "generations" VALUES('studio','listed-completed','config',1762000000000003,1,1,NULL,'completed','seedream-4',1761999999000000,200000000,1762000014000000,1762000005000000,1762000008000000,3000000,3,1762000014000000,NULL,NULL,1762000014000000,1762000014000000,'poll',4250000,211500000,2,NULL,NULL,NULL,NULL);
INSERT INTO "generations" VALUES('studio','unlisted-pending','config',1762000000000004,0,0,NULL,'pending','flux-2-pro',1761999999000000,200000000,1762000005000000,1762000005000000,NULL,NULL,1,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,1795656701915562,NULL);
INSERT INTO "generations" VALUES('studio','unlisted-completed','config',1762000000000005,0,0,NULL,'completed','flux-2-pro',1762000003000000,NULL,1762000015000000,NULL,NULL,NULL,1,1762000015000000,NULL,NULL,1762000015000000,1762000015000000,'poll',4250000,211500000,2,NULL,NULL,1795656701915562,NULL);
INSERT INTO "generations" VALUES('studio','dropped-not-found','config',1762000000000006,1,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,1762000060000000,'not_found',1762000060000000,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "generations" VALUES('studio','dropped-not-yours','config',1762000000000007,1,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,1762000061000000,'not_yours',1762000061000000,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "generations" VALUES('studio','dropped-gave-up','config',1762000000000008,1,0,NULL,'pending','flux-2-pro',1761999999000000,200000000,1762000005000000,1762000005000000,NULL,NULL,1,1762086400000000,'gave_up',1762086400000000,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "generations" VALUES('studio','ended-after-drop','config',1762000000000009,1,0,NULL,'completed','flux-2-pro',1761999999000000,200000000,1762086460000000,1762000005000000,NULL,NULL,1,1762086460000000,'gave_up',1762086400000000,1762086460000000,1762086460000000,'webhook',86461000000,211500000,2,NULL,NULL,NULL,NULL);
INSERT INTO "generations" VALUES('studio','from-file-failed','file',1762000001000000,1,0,NULL,'failed','veo-3',1762000003000000,NULL,1762000017000000,NULL,NULL,NULL,1,1762000017000000,NULL,NULL,1762000017000000,1762000017000000,'poll',14000000,0,0,'PROVIDER_ERROR','The provider failed',NULL,NULL);
INSERT INTO "generations" VALUES('studio','registered-completed','api',1762000002000000,0,1,'00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01','completed','veo-3',1762000003000000,NULL,1762000016000000,NULL,NULL,NULL,1,1762000016000000,NULL,NULL,1762000016000000,1762000016000000,'poll',12000000,211500000,2,NULL,NULL,1795656701915562,NULL);
INSERT INTO "generations" VALUES('studio','registered-processing','api',1762000002000001,0,1,'00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01','processing','seedream-4',1761999999000000,200000000,1762000008000000,1762000005000000,1762000008000000,3000000,2,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,1795656701915562,NULL);
INSERT INTO "generations" VALUES('lab','lab-completed','config',1762000000000000,1,0,NULL,'completed','veo-3',1762000003000000,NULL,1762000017000000,NULL,NULL,NULL,1,1762000017000000,NULL,NULL,1762000017000000,1762000017000000,'poll',4250000,211500000,2,NULL,NULL,NULL,NULL);
INSERT INTO "generations" VALUES('studio','delivered-failed','webhook',1762086470000000,0,1,NULL,'failed','unheard-of',1762086467000000,NULL,1762086470000000,NULL,NULL,NULL,0,1762086470000000,NULL,NULL,1762086470000000,1762086470000000,'webhook',3000000,0,0,'NSFW','The provider failed',1795656701915562,NULL);
INSERT INTO "generations" VALUES('studio','delivered-failed-too','webhook',1762086471000000,0,1,NULL,'failed','unheard-of',1762086468000000,NULL,1762086471000000,NULL,NULL,NULL,0,1762086471000000,NULL,NULL,1762086471000000,1762086471000000,'webhook',3000000,0,0,'TIMEOUT','The provider failed',1795656701915562,NULL);
CREATE TABLE inbox (account TEXT NOT NULL, at_us BIGINT NOT NULL, token TEXT NOT NULL, kind TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (account, at_us, token));
CREATE TABLE leases (account TEXT NOT NULL, holder TEXT NOT NULL, epoch BIGINT NOT NULL, writes BIGINT NOT NULL, PRIMARY KEY (account));
CREATE TABLE meta (
	"key" TEXT NOT NULL, 
	value TEXT NOT NULL, 
	PRIMARY KEY ("key")
);
INSERT INTO "meta" VALUES('schema_version','5');
INSERT INTO "meta" VALUES('bounds_us','[1000000, 2000000, 5000000, 10000000, 15000000, 20000000, 30000000, 45000000, 60000000, 90000000, 120000000, 180000000, 300000000, 600000000]');
CREATE TABLE observations (
	account TEXT NOT NULL, 
	id TEXT NOT NULL, 
	at_us BIGINT NOT NULL, 
	source TEXT NOT NULL, 
	said TEXT NOT NULL, 
	counted TEXT NOT NULL
);
INSERT INTO "observations" VALUES('studio','listed-pending',1762000005000000,'poll','pending, model flux-2-pro','');
INSERT INTO "observations" VALUES('studio','unlisted-pending',1762000005000000,'poll','pending, model flux-2-pro','');
INSERT INTO "observations" VALUES('studio','dropped-gave-up',1762000005000000,'poll','pending, model flux-2-pro','');
INSERT INTO "observations" VALUES('studio','ended-after-drop',1762000005000000,'poll','pending, model flux-2-pro','');
INSERT INTO "observations" VALUES('studio','listed-processing',1762000005000000,'poll','pending, model seedream-4','');
INSERT INTO "observations" VALUES('studio','listed-processing',1762000008000000,'poll','processing, model seedream-4','queue of seedream-4: 9.000 s');
INSERT INTO "observations" VALUES('studio','registered-processing',1762000005000000,'poll','pending, model seedream-4','');
INSERT INTO "observations" VALUES('studio','registered-processing',1762000008000000,'poll','processing, model seedream-4','queue of seedream-4: 9.000 s');
INSERT INTO "observations" VALUES('studio','listed-completed',1762000005000000,'poll','pending, model seedream-4','');
INSERT INTO "observations" VALUES('studio','listed-completed',1762000008000000,'poll','processing, model seedream-4','queue of seedream-4: 9.000 s');
INSERT INTO "observations" VALUES('studio','listed-completed',1762000014000000,'poll','completed, model seedream-4','completed of seedream-4, 4.250 s, 211.5 credits, 2 outputs');
INSERT INTO "observations" VALUES('studio','unlisted-completed',1762000015000000,'poll','completed, model flux-2-pro','completed of flux-2-pro, 4.250 s, 211.5 credits, 2 outputs');
INSERT INTO "observations" VALUES('studio','registered-completed',1762000016000000,'poll','completed, model veo-3','completed of veo-3, 12.000 s, 211.5 credits, 2 outputs');
INSERT INTO "observations" VALUES('studio','from-file-failed',1762000017000000,'poll','failed, model veo-3, reason PROVIDER_ERROR','failed of veo-3, 14.000 s, 0 credits, 0 outputs, reason PROVIDER_ERROR');
INSERT INTO "observations" VALUES('lab','lab-completed',1762000017000000,'poll','completed, model veo-3','completed of veo-3, 4.250 s, 211.5 credits, 2 outputs');
INSERT INTO "observations" VALUES('studio','dropped-not-found',1762000060000000,'poll','NOT_FOUND','dropped: not_found');
INSERT INTO "observations" VALUES('studio','dropped-not-yours',1762000061000000,'poll','NOT_YOURS','dropped: not_yours');
INSERT INTO "observations" VALUES('studio','dropped-gave-up',1762086400000000,'poll','still pending','dropped: gave_up');
INSERT INTO "observations" VALUES('studio','ended-after-drop',1762086400000000,'poll','still pending','dropped: gave_up');
INSERT INTO "observations" VALUES('studio','ended-after-drop',1762086460000000,'webhook','completed, model flux-2-pro','completed of flux-2-pro, 86461.000 s, 211.5 credits, 2 outputs');
INSERT INTO "observations" VALUES('studio','delivered-failed',1762086470000000,'webhook','failed, model unheard-of, reason NSFW','failed of unheard-of, 3.000 s, 0 credits, 0 outputs, reason NSFW');
INSERT INTO "observations" VALUES('studio','delivered-failed-too',1762086471000000,'webhook','failed, model unheard-of, reason TIMEOUT','failed of unheard-of, 3.000 s, 0 credits, 0 outputs, reason TIMEOUT');
CREATE TABLE outbox (
	account TEXT NOT NULL, 
	id TEXT NOT NULL, 
	due_us BIGINT NOT NULL, 
	output_urls TEXT, 
	PRIMARY KEY (account, id)
);
INSERT INTO "outbox" VALUES('studio','unlisted-completed',1762000007250000,'["https://pub.example/a.jpg", "https://pub.example/b.jpg"]');
INSERT INTO "outbox" VALUES('studio','registered-completed',1762000015000000,'["https://pub.example/a.jpg", "https://pub.example/b.jpg"]');
INSERT INTO "outbox" VALUES('studio','from-file-failed',1762000017000000,NULL);
INSERT INTO "outbox" VALUES('studio','dropped-gave-up',1762086400000000,NULL);
INSERT INTO "outbox" VALUES('studio','ended-after-drop',1762086460000000,'["https://pub.example/a.jpg", "https://pub.example/b.jpg"]');
INSERT INTO "outbox" VALUES('studio','delivered-failed',1762086470000000,NULL);
INSERT INTO "outbox" VALUES('studio','delivered-failed-too',1762086471000000,NULL);
CREATE TABLE replicas (id TEXT NOT NULL, expires_us BIGINT NOT NULL, PRIMARY KEY (id));
CREATE TABLE reservations (
	account TEXT NOT NULL, 
	at_us BIGINT NOT NULL, 
	calls INTEGER NOT NULL
);
INSERT INTO "reservations" VALUES('studio',1762086400000000,24);
INSERT INTO "reservations" VALUES('studio',1762086470000000,24);
INSERT INTO "reservations" VALUES('lab',1762000017000000,6);
CREATE TABLE standings (account TEXT NOT NULL, holder TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (account));
CREATE TABLE totals (
	account TEXT NOT NULL, 
	family TEXT NOT NULL, 
	labels TEXT NOT NULL, 
	cell TEXT NOT NULL, 
	amount BIGINT NOT NULL, 
	PRIMARY KEY (account, family, labels, cell)
);
INSERT INTO "totals" VALUES('studio','discovered','["config"]','value',10);
INSERT INTO "totals" VALUES('studio','discovered','["file"]','value',1);
INSERT INTO "totals" VALUES('studio','discovered','["api"]','value',2);
INSERT INTO "totals" VALUES('lab','discovered','["config"]','value',1);
INSERT INTO "totals" VALUES('studio','queue','["seedream-4"]','le=10000000',3);
INSERT INTO "totals" VALUES('studio','queue','["seedream-4"]','sum',27000000);
INSERT INTO "totals" VALUES('studio','generations','["seedream-4", "completed"]','value',1);
INSERT INTO "totals" VALUES('studio','credits','["seedream-4"]','value',211500000);
INSERT INTO "totals" VALUES('studio','outputs','["seedream-4"]','value',2);
INSERT INTO "totals" VALUES('studio','duration','["seedream-4", "completed"]','le=5000000',1);
INSERT INTO "totals" VALUES('studio','duration','["seedream-4", "completed"]','sum',4250000);
INSERT INTO "totals" VALUES('studio','generations','["flux-2-pro", "completed"]','value',2);
INSERT INTO "totals" VALUES('studio','credits','["flux-2-pro"]','value',423000000);
INSERT INTO "totals" VALUES('studio','outputs','["flux-2-pro"]','value',4);
INSERT INTO "totals" VALUES('studio','duration','["flux-2-pro", "completed"]','le=5000000',1);
INSERT INTO "totals" VALUES('studio','duration','["flux-2-pro", "completed"]','sum',86465250000);
INSERT INTO "totals" VALUES('studio','generations','["veo-3", "completed"]','value',1);
INSERT INTO "totals" VALUES('studio','credits','["veo-3"]','value',211500000);
INSERT INTO "totals" VALUES('studio','outputs','["veo-3"]','value',2);
INSERT INTO "totals" VALUES('studio','duration','["veo-3", "completed"]','le=15000000',1);
INSERT INTO "totals" VALUES('studio','duration','["veo-3", "completed"]','sum',12000000);
INSERT INTO "totals" VALUES('studio','generations','["veo-3", "failed"]','value',1);
INSERT INTO "totals" VALUES('studio','duration','["veo-3", "failed"]','le=15000000',1);
INSERT INTO "totals" VALUES('studio','duration','["veo-3", "failed"]','sum',14000000);
INSERT INTO "totals" VALUES('studio','failures','["veo-3", "PROVIDER_ERROR"]','value',1);
INSERT INTO "totals" VALUES('lab','generations','["veo-3", "completed"]','value',1);
INSERT INTO "totals" VALUES('lab','credits','["veo-3"]','value',211500000);
INSERT INTO "totals" VALUES('lab','outputs','["veo-3"]','value',2);
INSERT INTO "totals" VALUES('lab','duration','["veo-3", "completed"]','le=5000000',1);
INSERT INTO "totals" VALUES('lab','duration','["veo-3", "completed"]','sum',4250000);
INSERT INTO "totals" VALUES('studio','dropped','["not_found"]','value',1);
INSERT INTO "totals" VALUES('studio','dropped','["not_yours"]','value',1);
INSERT INTO "totals" VALUES('studio','dropped','["gave_up"]','value',2);
INSERT INTO "totals" VALUES('studio','duration','["flux-2-pro", "completed"]','le=+Inf',1);
INSERT INTO "totals" VALUES('studio','discovered','["webhook"]','value',2);
INSERT INTO "totals" VALUES('studio','generations','["other", "failed"]','value',2);
INSERT INTO "totals" VALUES('studio','credits','["other"]','value',0);
INSERT INTO "totals" VALUES('studio','outputs','["other"]','value',0);
INSERT INTO "totals" VALUES('studio','duration','["other", "failed"]','le=5000000',2);
INSERT INTO "totals" VALUES('studio','duration','["other", "failed"]','sum',6000000);
INSERT INTO "totals" VALUES('studio','failures','["other", "NSFW"]','value',1);
INSERT INTO "totals" VALUES('studio','failures','["other", "other"]','value',1);
CREATE INDEX generations_by_id ON generations (id);
CREATE INDEX generations_by_discovery ON generations (discovered_us, account, id);
CREATE INDEX generations_by_account ON generations (account, closed_us);
CREATE INDEX observations_generation ON observations (account, id);
CREATE INDEX reservations_by_account ON reservations (account, at_us);
CREATE INDEX outbox_by_end ON outbox (due_us, account, id);
CREATE INDEX generations_by_close ON generations (closed_us, account, status, end_recorded_us, end_credits_used_micro);
CREATE INDEX generations_failed ON generations (closed_us, account, end_reason, model) WHERE status = 'failed';
CREATE INDEX generations_by_phase ON generations ((CASE WHEN drop_reason IS NOT NULL AND end_recorded_us IS NULL THEN 'dropped' WHEN status IS NULL THEN 'unseen' ELSE status END), discovered_us, account, id);
CREATE INDEX generations_by_account_phase ON generations (account, (CASE WHEN drop_reason IS NOT NULL AND end_recorded_us IS NULL THEN 'dropped' WHEN status IS NULL THEN 'unseen' ELSE status END), discovered_us, id);
CREATE INDEX generations_by_model_phase ON generations (model, (CASE WHEN drop_reason IS NOT NULL AND end_recorded_us IS NULL THEN 'dropped' WHEN status IS NULL THEN 'unseen' ELSE status END), discovered_us, account, id);
CREATE INDEX generations_by_account_model_phase ON generations (account, model, (CASE WHEN drop_reason IS NOT NULL AND end_recorded_us IS NULL THEN 'dropped' WHEN status IS NULL THEN 'unseen' ELSE status END), discovered_us, id);
CREATE INDEX generations_by_reason ON generations ((CASE WHEN end_recorded_us IS NULL THEN drop_reason ELSE end_reason END), discovered_us, account, id, model) WHERE (CASE WHEN end_recorded_us IS NULL THEN drop_reason ELSE end_reason END) IS NOT NULL;
COMMIT;
