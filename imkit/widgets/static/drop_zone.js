// DropZone (composer_parts.py): takes a file by click or by drop, and sends it to the kernel piece by piece.
const PIECE_BYTES = 512 * 1024, MAX_BYTES = 10 * 1024 * 1024;

export default widgetPart('imkit-drop', ({ model, el, label, listen }) => {
    const input = element('input', { type: 'file', hidden: true, 'aria-hidden': 'true', tabindex: '-1' });
    const zone = element('div', { cls: 'imkit-drop-zone', role: 'button', tabindex: '0', 'aria-label': label('send_drop') },
        element('div', { text: label('send_drop') }), element('div', { text: label('send_file_limit') }));
    const chosen = element('div', { cls: 'imkit-drop-chosen', 'aria-live': 'polite' });
    let file = null, number = 0, previewUrl = null, bar = null;

    const clear = () => {
        file = null;
        if (previewUrl) URL.revokeObjectURL(previewUrl);
        previewUrl = null;
        input.value = '';
        chosen.replaceChildren();
    };
    const remove = () => { clear(); model.send({ do: 'remove' }); };
    const choose = picked => {
        clear();
        if (!picked) return;
        if (picked.size > MAX_BYTES) {
            const megabytes = (picked.size / 1048576).toFixed(1);
            chosen.replaceChildren(element('span', { cls: 'bad', text: label('send_file_large', { name: picked.name, n: megabytes }) }));
            model.send({ do: 'remove' });
            return;
        }
        file = picked;
        number += 1;
        bar = element('progress', { max: String(Math.max(file.size, 1)), value: '0', 'aria-label': label('send_reading') });
        chosen.replaceChildren(...preview(),
            element('bdi', { text: file.name }), element('span', { text: `${(file.size / 1024).toFixed(1)} KB` }), bar,
            element('button', { type: 'button', text: label('send_remove'), on: { click: remove } }));
        model.send({ do: 'begin', name: file.name, size: file.size, number });
    };
    // The user's own picture, shown from memory; an SVG could contain scripts.
    const preview = () => {
        if (!file.type.startsWith('image/') || file.type === 'image/svg+xml') return [];
        previewUrl = URL.createObjectURL(file);
        return [element('img', { src: previewUrl, alt: file.name })];
    };
    const receive = async content => {
        if (content.do === 'clear') clear();
        if (content.do !== 'next' || !file || content.number !== number) return;
        bar.value = content.from;
        if (content.from >= file.size) { bar.remove(); return; }
        const piece = await file.slice(content.from, content.from + PIECE_BYTES).arrayBuffer();
        if (content.number === number && file) model.send({ do: 'piece', number }, undefined, [piece]);
    };
    const highlight = isOver => event => {
        event.preventDefault();
        event.stopPropagation();
        zone.classList.toggle('over', isOver);
    };
    zone.addEventListener('click', () => input.click());
    zone.addEventListener('keydown', event => { if (event.key === 'Enter' || event.key === ' ') { event.preventDefault(); input.click(); } });
    input.addEventListener('change', () => choose(input.files[0]));
    for (const kind of ['dragenter', 'dragover']) zone.addEventListener(kind, highlight(true));
    for (const kind of ['dragleave', 'drop']) zone.addEventListener(kind, highlight(false));
    zone.addEventListener('drop', event => choose(event.dataTransfer.files[0]));
    listen('msg:custom', receive);
    el.append(zone, input, chosen);
    return clear;
});
